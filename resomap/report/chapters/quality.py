"""Quality over the map: heatmaps of models x resolutions, and curves with their 95 % bands."""

from typing import Any

import altair as alt

from resomap.report.figure import Chart, Figure, Key, Panel, Row, ring, rows
from resomap.report.material import Material, interval, padded, quality
from resomap.report.palette import ACCENT, GREY, SCHEME, TEST, VALIDATION, ink_on

_SPLITS = {"validation": "On validation images, which decide", "test": "On test images, which only report"}
_NONE = "No training of the grid is finished yet."


def heatmap(material: Material) -> Figure:
    """Draw models x resolutions, once on validation and once on test, in one scale of colours."""
    values = [
        found.value
        for square in material.squares.values()
        for split in _SPLITS
        if (found := material.judged(square, split)) is not None
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    panels = [Panel(title, _heat(_squares(material, split, low, high), low, high)) for split, title in _SPLITS.items()]
    return Figure(
        "heatmap",
        f"{material.metric[0].upper()}{material.metric[1:]} of each model at each resolution",
        "Mean over the seeds. Yellow is better; the frame is the recommended cell; a star marks cells that may be "
        "the best one (validation, 95 %). Dashed ones have no finished training. Point at one for its interval."
        + material.one_seed_note
        + _optimism(material),
        panels if values else [],
        reason=_NONE,
        least_width=320,
        width=70 * max(3, len(material.map.resolutions)),
    )


def _optimism(material: Material) -> str:
    """Return by how much validation values are above those of test, and what the highest one is worth."""
    text = ""
    gap, advice = material.map.validation_gap, material.map.recommendation
    if gap is not None:
        text += (
            f" {_epochs(material)}: over all cells their values are "
            f"{gap.value * 100:+.1f} points [{gap.low * 100:+.1f}, {gap.high * 100:+.1f}] from those on test images."
        )
    if advice is not None and advice.best_value is not None and advice.best_corrected is not None:
        text += (
            f" The highest of {len(material.squares)} values, {advice.best_value:.3f}, was also the luckiest; without "
            f"that luck it is about {advice.best_corrected:.3f}."
        )
    return text


def _epochs(material: Material) -> str:
    if material.map.folds is None:
        return "Each training's epoch was chosen on the validation images"
    return (
        "Validation images are all those outside the test split, each judged by a training that did not see it, after "
        "the epoch that the other folds chose"
    )


def _squares(material: Material, split: str, low: float, high: float) -> list[Row]:
    found: list[Row] = []
    for model in material.map.models:
        for resolution in material.map.resolutions:
            square = material.squares.get((model, resolution))
            estimate = material.judged(square, split) if square else None
            row = {"model": model, "resolution": resolution, "value": None, "is_chosen": False, "may_be_best": False}
            if square is None or estimate is None:
                why = "undefined" if square else material.why_missing((model, resolution)) or "not trained"
                found.append({**row, "text": "–", "ink": "#777", "interval": why, "seeds": 0})
                continue
            may_be_best = split == "validation" and square.deficit is not None and square.deficit.may_be_best
            found.append(
                {
                    **row,
                    "value": estimate.value,
                    "text": quality(estimate.value),
                    "may_be_best": may_be_best,
                    "ink": ink_on((estimate.value - low) / ((high - low) or 1.0)),
                    "interval": interval(estimate),
                    "seeds": estimate.seeds,
                    "is_chosen": material.chosen == (model, resolution),
                }
            )
    return found


def _heat(squares: list[Row], low: float, high: float) -> Chart:
    base = alt.Chart(rows(squares)).encode(
        x=alt.X(
            "resolution:O",
            title="training resolution (px)",
            axis=alt.Axis(labelAngle=0, orient="top", ticks=False, domain=False),
        ),
        y=alt.Y("model:N", title=None, sort=None, axis=alt.Axis(ticks=False, domain=False)),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("resolution:O", title="resolution (px)"),
            alt.Tooltip("interval:N", title="value [95 % interval]"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    absent = base.transform_filter("datum.value === null").mark_rect(
        fill="#f4f4f4", stroke="#bbb", strokeDash=[3, 3], cornerRadius=3
    )
    present = base.transform_filter("datum.value !== null")
    squares_drawn = present.mark_rect(cornerRadius=3, stroke="white", strokeWidth=2).encode(
        color=alt.Color("value:Q", scale=alt.Scale(scheme=SCHEME, domain=[low, high]), legend=None)
    )
    frame = base.transform_filter("datum.is_chosen").mark_rect(fill=None, stroke=ACCENT, strokeWidth=4, cornerRadius=3)
    text = base.mark_text(fontSize=12).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    # Below the number and not beside it, where a narrow screen has no room.
    star = base.transform_filter("datum.may_be_best").mark_text(text="★", fontSize=9, dy=13)
    stars = star.encode(color=alt.Color("ink:N", scale=None))
    return (
        alt.layer(absent, squares_drawn, frame, text, stars)
        .resolve_scale(color="independent")
        .properties(height=38 * len({row["model"] for row in squares}))
    )


def curves(material: Material) -> Figure:
    """Draw quality against resolution, a panel a model, all on one scale."""
    points = [row for model in material.models for row in _points(material, model)]
    domain = padded([value for row in points for value in (row["low"], row["value"], row["high"])])
    native = material.map.images.native_size
    inside = native if native and min(sizes := material.map.resolutions) <= native["median"] <= max(sizes) else None
    panels = [
        Panel(
            model,
            _curve([row for row in points if row["model"] == model], domain, material, inside),
        )
        for model in material.models
        if any(row["model"] == model for row in points)
    ]
    keys = [Key("line", VALIDATION, "validation"), Key("dash", TEST, "test"), *material.ring]
    if inside:
        keys.append(Key("dash", GREY, f"median short side of the images, {inside['median']} px"))
    judged = [found for square in material.squares.values() if (found := material.judged(square)) is not None]
    noise = all(one.includes_training_noise for one in judged)
    return Figure(
        "curves",
        "Quality against resolution",
        "Bands are 95 % intervals of each cell for itself; "
        + ("training noise is in them." if noise else "with one seed a cell training noise is not in them.")
        + " All panels share one scale.",
        panels,
        keys,
        _NONE,
    )


def _points(material: Material, model: str) -> list[dict[str, Any]]:
    found = []
    for split in _SPLITS:
        for resolution in material.map.resolutions:
            square = material.squares.get((model, resolution))
            estimate = material.judged(square, split) if square else None
            if estimate is None:
                continue
            found.append(
                {
                    "model": model,
                    "resolution": resolution,
                    "split": split,
                    "value": estimate.value,
                    "low": estimate.value if estimate.low is None else estimate.low,
                    "high": estimate.value if estimate.high is None else estimate.high,
                    "interval": interval(estimate),
                    "seeds": estimate.seeds,
                    "is_answer": split == "validation" and material.chosen == (model, resolution),
                }
            )
    return found


def _curve(
    points: list[dict[str, Any]], domain: tuple[float, float], material: Material, native: dict[str, int] | None
) -> Chart:
    resolutions = material.map.resolutions
    base = alt.Chart(rows(points)).encode(
        x=alt.X(
            "resolution:Q",
            title="resolution (px)",
            scale=alt.Scale(type="log", domain=_spread(resolutions), nice=False),
            axis=alt.Axis(values=resolutions, grid=False, format="d"),
        ),
        color=alt.Color("split:N", title=None, scale=alt.Scale(domain=list(_SPLITS), range=[VALIDATION, TEST])),
    )
    band = base.mark_area(opacity=0.14).encode(
        y=alt.Y("low:Q", title=material.metric, scale=alt.Scale(domain=domain, nice=False, zero=False)), y2="high:Q"
    )
    bar = base.mark_rule(opacity=0.35).encode(y="low:Q", y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(
        y="value:Q",
        strokeDash=alt.StrokeDash("split:N", title=None, scale=alt.Scale(domain=list(_SPLITS), range=[[1, 0], [5, 4]])),
    )
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        y="value:Q",
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("split:N"),
            alt.Tooltip("resolution:Q", title="resolution (px)"),
            alt.Tooltip("interval:N", title="value [95 % interval]"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    layers = [band, bar, line, *ring(base, points), dots]
    if native:
        layers.insert(
            0,
            alt.Chart(rows([{"at": native["median"]}])).mark_rule(color=GREY, strokeDash=[2, 3]).encode(x="at:Q"),
        )
    return alt.layer(*layers).properties(height=220)


def _spread(resolutions: list[int]) -> list[float]:
    """Return the limits of an axis of resolutions, with some air; by their ratios, as pixels multiply."""
    air = max(1.02, (max(resolutions) / min(resolutions)) ** 0.06)
    return [min(resolutions) / air, max(resolutions) * air]
