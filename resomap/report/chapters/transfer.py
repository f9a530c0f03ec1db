"""Train resolution x test resolution: the quality of each trained cell at resolutions it was not trained at."""

from typing import Any

import altair as alt

from resomap.report.figure import Chart, Figure, Panel, answer_label, rows
from resomap.report.material import Material, quality
from resomap.report.palette import ACCENT, SCHEME, ink_on


def transfer(material: Material) -> Figure:
    """Draw train resolution x test resolution, a panel a model, in one scale of colours."""
    known = [one for one in material.map.matrix if one.validation is not None]
    values = [one.validation for one in known if one.validation is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    panels = []
    for model in material.models:
        entries = [one for one in material.map.matrix if one.model == model]
        if any(one.validation is not None for one in entries):
            panels.append(Panel(model, _matrix(material, entries, low, high)))
    return Figure(
        "transfer",
        "Training resolution and test resolution",
        f"Validation {material.metric} of each training (row) at each test resolution (column), mean over the seeds. "
        "The frame is the row's own resolution, or another one that is shown to be better for these weights (95 %, all "
        "rows together). Where it is off the diagonal, part of what looks like an effect of resolution is the mismatch "
        "of objects' sizes between training and test (Touvron et al. 2019)." + material.one_seed_note,
        panels,
        reason="No training is evaluated at other resolutions yet; `snakemake evaluations` does it.",
        width=56 * max(4, len(material.map.resolutions)),
    )


def _matrix(material: Material, entries: list[Any], low: float, high: float) -> Chart:
    best = {square.resolution: square.best_test_resolution for square in material.map.squares if _is(square, entries)}
    found = [
        {
            "trained": one.trained_at,
            "tested": one.tested_at,
            "value": one.validation,
            "text": quality(one.validation),
            "test": quality(one.test),
            "seeds": one.seeds,
            "ink": "#777" if one.validation is None else ink_on((one.validation - low) / ((high - low) or 1.0)),
            "is_best": best.get(one.trained_at) == one.tested_at,
        }
        for one in entries
    ]
    base = alt.Chart(rows(found)).encode(
        x=alt.X("tested:O", title="tested at (px)", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "trained:O",
            title="trained at (px)",
            axis=alt.Axis(labelExpr=answer_label(material.chosen, entries[0].model)),
        ),
        tooltip=[
            alt.Tooltip("trained:O", title="trained at (px)"),
            alt.Tooltip("tested:O", title="tested at (px)"),
            alt.Tooltip("text:N", title="validation"),
            alt.Tooltip("test:N", title="test"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    squares = base.mark_rect(cornerRadius=2, stroke="white", strokeWidth=2).encode(
        color=alt.Color("value:Q", scale=alt.Scale(scheme=SCHEME, domain=[low, high]), legend=None)
    )
    frame = base.transform_filter("datum.is_best").mark_rect(fill=None, stroke=ACCENT, strokeWidth=3, cornerRadius=2)
    text = base.mark_text(fontSize=11).encode(text="text:N", color=alt.Color("ink:N", scale=None))
    return (
        alt.layer(squares, frame, text)
        .resolve_scale(color="independent")
        .properties(height=34 * len({row["trained"] for row in found}))
    )


def _is(square: Any, entries: list[Any]) -> bool:
    return bool(entries) and square.model == entries[0].model
