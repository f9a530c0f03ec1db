"""Learning curves: quality and loss over the epochs of each training, from the histories beside the markers."""

import csv
from typing import Any

import altair as alt

from resomap.report.figure import Chart, Figure, Key, Panel, Row, ring, rows
from resomap.report.material import Material
from resomap.report.palette import in_order
from resomap.summary.evidence import Trained

EPOCHS = 100  # of a training that are drawn, about: more points than pixels would only make the file large


def learning(material: Material) -> Figure:
    """Draw two panels a model: validation quality, and the losses. A colour a resolution, a line a seed."""
    colours = in_order(material.map.resolutions)
    panels = []
    for model in material.models:
        found = [row for one in material.evidence.trained if one.cell.model == model for row in _history(one, material)]
        if any(row["kind"] == "quality" for row in found):
            panels.append(Panel(f"{model}: validation {material.metric}", _chart(found, "quality", material, colours)))
        if any(row["kind"] == "loss" for row in found):
            panels.append(Panel(f"{model}: loss", _chart(found, "loss", material, colours)))
    keys = [Key("line", colour, f"{resolution} px") for resolution, colour in colours.items()]
    return Figure(
        "learning",
        "Learning curves",
        "A line a training. The point is the epoch whose weights are used, chosen on validation. Of the losses, "
        "validation is solid and training dashed: where they part, the model learns its training images by heart.",
        panels,
        [*keys, Key("dash", "#555", "training loss"), *material.ring] if panels else (),
        "No history of a finished training is here yet." if material.squares else "No training is finished yet.",
        columns=2,
    )


def _history(one: Trained, material: Material) -> list[Row]:
    """Return the rows of one training; none where its history is not here or cannot be read."""
    quality = f"val/{material.map.metric}"
    names = {quality: ("quality", "validation"), "val/loss": ("loss", "validation"), "train/loss": ("loss", "training")}
    try:
        with one.cell.history.open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        stride = 1 + len(lines) // EPOCHS
        return [
            {
                "training": one.cell.name,
                "resolution": one.cell.resolution,
                "seed": one.cell.seed,
                "epoch": int(line["epoch"]),
                "kind": kind,
                "split": split,
                "value": float(line[column]),
                "is_answer": split == "validation"
                and int(line["epoch"]) == one.marker.best_epoch
                and material.chosen == (one.cell.model, one.cell.resolution),
                "is_used": split == "validation" and int(line["epoch"]) == one.marker.best_epoch,
            }
            for index, line in enumerate(lines)
            if index % stride == 0 or index == len(lines) - 1 or int(line["epoch"]) == one.marker.best_epoch
            for column, (kind, split) in names.items()
            if line.get(column)
        ]
    except (OSError, KeyError, ValueError, csv.Error):
        return []


def _chart(found: list[Row], kind: str, material: Material, colours: dict[int, str]) -> Chart:
    wanted: list[dict[str, Any]] = [dict(row) for row in found if row["kind"] == kind]
    base = alt.Chart(rows(wanted)).encode(
        x=alt.X("epoch:Q", axis=alt.Axis(grid=False, tickMinStep=1, format="d"), scale=alt.Scale(nice=False)),
        y=alt.Y(
            "value:Q",
            title=f"validation {material.metric}" if kind == "quality" else "loss (nats)",
            axis=alt.Axis(tickCount=5),
            scale=alt.Scale(zero=False) if kind == "quality" else _loss_scale(wanted),
        ),
        color=alt.Color(
            "resolution:O",
            title="resolution (px)",
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        ),
        detail=["training:N", "split:N"],
    )
    lines = base.mark_line(strokeWidth=1.6, opacity=0.85).encode(
        strokeDash=alt.StrokeDash(
            "split:N",
            scale=alt.Scale(domain=["validation", "training"], range=[[1, 0], [3, 3]]),
            title=None,
        ),
        tooltip=_tooltip(),
    )
    # An invisible point at each epoch gives the pointer something to meet.
    targets = base.mark_point(size=60, opacity=0, filled=True).encode(tooltip=_tooltip())
    used = (
        base.transform_filter("datum.is_used")
        .mark_point(filled=True, size=70, opacity=1, stroke="white")
        .encode(tooltip=_tooltip())
    )
    return alt.layer(lines, *ring(base, wanted), targets, used).properties(height=200)


def _loss_scale(wanted: list[dict[str, Any]]) -> alt.Scale:
    """Return a logarithmic scale: the first epochs of an untrained network would flatten all that follows."""
    is_log = all(row["value"] > 0 for row in wanted)
    return alt.Scale(type="log", nice=False) if is_log else alt.Scale(type="symlog", constant=0.01)


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("training:N"),
        alt.Tooltip("split:N"),
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("value:Q", format=".4f"),
    ]
