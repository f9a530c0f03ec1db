"""Results by class: recall of each class against resolution, and confusion matrices."""

from collections import defaultdict
from typing import Any

import altair as alt
import numpy as np

from resomap.report.figure import Chart, Figure, Key, Panel, Row, answer_label, rows
from resomap.report.material import Material, name
from resomap.report.palette import GLYPHS, SCHEME, apart, ink_on
from resomap.statistics import Position

LINES = 7  # classes that lines can tell apart; more are drawn as squares
SHOWN = 30  # classes of one panel at most: those that change most
NUMBERED = 12  # classes of a confusion matrix up to which its squares carry numbers
CONFUSED = 24  # classes of a confusion matrix at most: those with most errors
_NONE = "No predictions of a finished training are here yet."


def per_class(material: Material) -> Figure:
    """Draw recall by class and resolution, a panel a model."""
    matrices = confusions(material)
    names = class_names(material)
    found = [
        {"model": model, "resolution": resolution, "class": label, "recall": float(recall), "images": int(images)}
        for (model, resolution), matrix in matrices.items()
        for label, recall, images in zip(names, _recalls(matrix), matrix.sum(axis=1), strict=True)
        if images
    ]
    shown = _most_changed(found, names)
    panels = [
        Panel(model, _lines(own, shown, material) if len(shown) <= LINES else _squares(own, shown, material))
        for model in material.models
        if (own := [row for row in found if row["model"] == model and row["class"] in shown])
    ]
    looks = apart(shown)
    keys = [Key(GLYPHS[shape], colour, label) for label, (colour, shape) in looks.items()]
    left_out = f" Shown are the {SHOWN} classes that change most." if len(shown) < len(names) else ""
    return Figure(
        "per-class",
        "Each class against resolution",
        f"Recall on the {material.shown_images} (share of a class that is recognised), mean over the seeds: which "
        f"classes gain from more pixels, and which do not.{left_out}",
        panels,
        keys if len(shown) <= LINES else (),
        _NONE,
    )


def _most_changed(found: list[dict[str, Any]], names: list[str]) -> list[str]:
    if len(names) <= SHOWN:
        return names
    recalls: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in found:
        recalls[row["class"], row["model"]].append(row["recall"])
    spans: dict[str, float] = dict.fromkeys(names, 0.0)
    for (label, _), values in recalls.items():
        spans[label] = max(spans[label], max(values) - min(values))
    chosen = set(sorted(names, key=lambda label: -spans[label])[:SHOWN])
    return [label for label in names if label in chosen]


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("class:N"),
        alt.Tooltip("resolution:O", title="resolution (px)"),
        alt.Tooltip("recall:Q", format=".3f"),
        alt.Tooltip("images:Q", title="images, all seeds"),
    ]


def _lines(own: list[dict[str, Any]], shown: list[str], material: Material) -> Chart:
    looks = apart(shown)
    base = alt.Chart(rows(own)).encode(
        x=alt.X(
            "resolution:Q",
            title="resolution (px)",
            scale=alt.Scale(type="log", padding=16, nice=False),
            axis=alt.Axis(
                values=material.map.resolutions,
                grid=False,
                format="d",
                labelExpr=answer_label(material.chosen, own[0]["model"]),
            ),
        ),
        y=alt.Y("recall:Q", title="recall", scale=alt.Scale(domain=[0, 1])),
        color=alt.Color(
            "class:N", title=None, scale=alt.Scale(domain=shown, range=[colour for colour, _ in looks.values()])
        ),
        tooltip=_tooltip(),
    )
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(
        shape=alt.Shape(
            "class:N", title=None, scale=alt.Scale(domain=shown, range=[shape for _, shape in looks.values()])
        )
    )
    return alt.layer(base.mark_line(strokeWidth=2), dots).properties(height=200)


def _squares(own: list[dict[str, Any]], shown: list[str], material: Material) -> Chart:
    return (
        alt.Chart(rows(own))
        .mark_rect(stroke="white", strokeWidth=1)
        .encode(
            x=alt.X(
                "resolution:O",
                title="resolution (px)",
                axis=alt.Axis(labelAngle=0, labelExpr=answer_label(material.chosen, own[0]["model"])),
            ),
            y=alt.Y("class:N", title=None, sort=shown),
            color=alt.Color("recall:Q", title="recall", scale=alt.Scale(scheme=SCHEME, domain=[0, 1])),
            tooltip=_tooltip(),
        )
        .properties(height=16 * len({row["class"] for row in own}))
    )


def confusion(material: Material) -> Figure:
    """Draw the confusion matrices, a panel a square of the map; all its seeds together."""
    every, matrices = class_names(material), confusions(material)
    shown = _most_confused(list(matrices.values()), len(every))
    names = [every[index] for index in shown]
    panels = [
        Panel(name(material.squares[position]), _matrix(matrix[np.ix_(shown, shown)], matrix[shown].sum(axis=1), names))
        for position, matrix in matrices.items()
    ]
    hidden = "" if len(names) <= NUMBERED else " Numbers show where you point."
    if len(names) < len(every):
        hidden += f" Of {len(every)} classes these are the {len(names)} with most errors in all cells together."
    return Figure(
        "confusion",
        "Confusion matrices",
        f"{_capital(material.shown_images)}, by true class (row) and predicted class (column), all seeds of a cell "
        "together. Colours are "
        f"shares of the row, numbers are images.{hidden}",
        panels,
        reason=_NONE,
        least_width=165 if len(names) <= 4 else 280,
        columns=max(1, min(5, len(material.map.resolutions))),
        width=200 if len(names) <= 4 else 320,
    )


def _most_confused(matrices: list[np.ndarray], count: int) -> list[int]:
    """Return the classes, in their order, with the most images that are of them or taken for them wrongly."""
    if count <= CONFUSED or not matrices:
        return list(range(count))
    errors = np.sum(matrices, axis=0)
    np.fill_diagonal(errors, 0)
    most = np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")[:CONFUSED]
    return sorted(int(index) for index in most)


def _matrix(matrix: np.ndarray, images: np.ndarray, names: list[str]) -> Chart:
    shares = matrix / np.maximum(1, images)[:, None]
    numbered = len(names) <= NUMBERED
    found: list[Row] = [
        {
            "true": names[i],
            "predicted": names[j],
            "images": int(matrix[i, j]),
            "share": round(float(shares[i, j]), 4),
            "ink": ink_on(float(shares[i, j])),
        }
        for i, j in np.ndindex(*matrix.shape)
        if numbered or matrix[i, j]
    ]
    labels = alt.Axis(labelAngle=0 if len(names) <= 4 else -90, ticks=False, labelLimit=90)
    base = alt.Chart(rows(found)).encode(
        x=alt.X("predicted:N", sort=names, axis=labels, scale=alt.Scale(domain=names)),
        y=alt.Y(
            "true:N",
            sort=names,
            axis=alt.Axis(ticks=False, labelLimit=90),
            scale=alt.Scale(domain=names),
        ),
        tooltip=[
            alt.Tooltip("true:N"),
            alt.Tooltip("predicted:N"),
            alt.Tooltip("images:Q"),
            alt.Tooltip("share:Q", title="of the true class", format=".1%"),
        ],
    )
    squares = base.mark_rect(stroke="white", strokeWidth=1 if numbered else 0).encode(
        color=alt.Color("share:Q", scale=alt.Scale(scheme=SCHEME, domain=[0, 1]), legend=None)
    )
    step = 40 if len(names) <= 4 else 24 if numbered else 14
    if not numbered:
        return alt.layer(squares).properties(height=step * len(names))
    text = base.mark_text(fontSize=11).encode(text="images:Q", color=alt.Color("ink:N", scale=None))
    return alt.layer(squares, text).resolve_scale(color="independent").properties(height=step * len(names))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def class_names(material: Material) -> list[str]:
    """Return the classes of the predictions, in the order of matrices; empty where none are here."""
    return next((one.predictions.classes for one in material.evidence.trained if one.predictions is not None), [])


def confusions(material: Material) -> dict[Position, np.ndarray]:
    """Return the confusion matrix of each square with predictions here, summed over its seeds.

    It counts images (`Material.shown`) by true class (rows) and predicted class (columns).
    """
    count = len(class_names(material))
    found: dict[Position, np.ndarray] = {}
    for position in material.evidence.positions:
        matrix = np.zeros((count, count), dtype=int)
        for part in material.shown(position):
            if part.log_probabilities.shape[1] == count:
                np.add.at(matrix, (np.asarray(part.labels), part.log_probabilities.argmax(axis=1)), 1)
        if matrix.any():
            found[position] = matrix
    return found


def _recalls(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix) / np.maximum(1, matrix.sum(axis=1))
