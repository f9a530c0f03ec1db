"""Pareto charts: quality against latency, FLOPs, memory and parameters, each with its Pareto front."""

from typing import Any

import altair as alt

from resomap.report.figure import Chart, Figure, Key, Panel, ring, rows
from resomap.report.material import Material, interval, padded
from resomap.report.palette import GLYPHS, apart

COSTS = {
    "latency_ms": ("Latency", "latency of one image (ms)"),
    "flops": ("FLOPs", "billions of operations (FLOPs) of one image"),
    "memory_mb": ("Memory", "peak memory at batch 1 (MB)"),
    "params": ("Parameters", "millions of parameters"),
}

CROWD = 12  # points of a panel, beyond which their labels would cover each other


def pareto(material: Material) -> Figure:
    """Draw a panel a cost. Squares of another device or runtime than most are left out, as the fronts do."""
    looks = apart(material.models)
    panels = []
    for cost, (title, axis) in COSTS.items():
        points = _points(material, cost)
        if points:
            panels.append(Panel(title, _plane(points, axis, material, looks)))
    device = next((front.device for front in material.map.fronts if front.device), "")
    runtime = next((front.runtime for front in material.map.fronts if front.runtime), None)
    where = (f" on {device}" if device else "") + (f" in {runtime}" if runtime else "")
    return Figure(
        "pareto",
        "Quality against cost",
        f"Validation {material.metric}, with its 95 % interval, against cost{where}; up and to the left is better. "
        "The number at a point is its resolution. The stepped line is the Pareto front of the estimates: no other "
        "estimate is better at no more cost. Cells in full colour may be on the true front, for nothing as cheap is "
        "shown to be better (95 %, all together); pale ones are not on it." + material.one_seed_note,
        panels,
        [*(Key(GLYPHS[shape], colour, model) for model, (colour, shape) in looks.items()), *material.ring]
        if panels
        else (),
        "No cost is measured yet; `snakemake results/costs.csv` does it."
        if material.squares
        else "No training of the grid is finished yet.",
        least_width=320,
    )


def _points(material: Material, cost: str) -> list[dict[str, Any]]:
    fronts = {front.cost: {(one.model, one.resolution) for one in front.places} for front in material.map.fronts}
    possible = {front.cost: {(one.model, one.resolution) for one in front.possible} for front in material.map.fronts}
    found = []
    for position, square in material.squares.items():
        estimate, value = material.judged(square), _cost(square.cost, cost)
        if estimate is None or value is None:
            continue
        found.append(
            {
                "model": square.model,
                "resolution": square.resolution,
                "cost": value,
                "value": estimate.value,
                "low": estimate.value if estimate.low is None else estimate.low,
                "high": estimate.value if estimate.high is None else estimate.high,
                "interval": interval(estimate),
                "is_front": position in fronts.get(cost, set()),
                "may_be": position in possible.get(cost, set()),
                "is_answer": position == material.chosen,
            }
        )
    return sorted(found, key=lambda row: row["cost"])


def _cost(measured: Any, cost: str) -> float | None:
    """Return a cost in the unit of the axis; None where it is unknown or not comparable.

    Latency and memory count only where measured on the device and in the runtime that most squares were.
    """
    if measured is None:
        return None
    if cost in ("latency_ms", "memory_mb") and not measured.is_comparable:
        return None
    name, unit = {
        "latency_ms": ("latency_ms_median", 1.0),
        "memory_mb": ("peak_memory_bytes_batch_1", 1e6),
        "flops": ("flops", 1e9),
        "params": ("params", 1e6),
    }[cost]
    value = getattr(measured, name)
    return None if not value else value / unit


def _plane(points: list[dict[str, Any]], axis: str, material: Material, looks: dict[str, tuple[str, str]]) -> Chart:
    domain = padded([value for row in points for value in (row["low"], row["high"])])
    costs = [row["cost"] for row in points]
    wide = max(costs) / min(costs) > 5
    scale = alt.Scale(type="log", nice=False, padding=24) if wide else alt.Scale(zero=False, padding=24)
    base = alt.Chart(rows(points)).encode(
        x=alt.X(
            "cost:Q",
            title=axis,
            scale=scale,
            axis=alt.Axis(grid=False, tickCount=5, format="~g" if wide else alt.Undefined),
        ),
        color=alt.Color(
            "model:N",
            title=None,
            scale=alt.Scale(domain=list(looks), range=[colour for colour, _ in looks.values()]),
        ),
    )
    scale_y = alt.Scale(domain=domain, nice=False, zero=False)
    bars = base.mark_rule().encode(
        opacity=_opacity(0.15, 0.55),
        y=alt.Y("low:Q", title=f"validation {material.metric}", scale=scale_y),
        y2="high:Q",
    )
    dots = base.mark_point(filled=True, size=90).encode(
        y="value:Q",
        opacity=_opacity(0.4),
        shape=alt.Shape(
            "model:N",
            title=None,
            scale=alt.Scale(domain=list(looks), range=[shape for _, shape in looks.values()]),
        ),
        tooltip=[
            alt.Tooltip("model:N"),
            alt.Tooltip("resolution:Q", title="resolution (px)"),
            alt.Tooltip("interval:N", title="value [95 % interval]"),
            alt.Tooltip("cost:Q", title=axis, format=".4~g"),
            alt.Tooltip("is_front:N", title="on the front of the estimates"),
            alt.Tooltip("may_be:N", title="may be on the true front"),
        ],
    )
    # In a crowd only the front is labelled; the pointer tells the rest.
    labelled = base.transform_filter("datum.is_front") if len(points) > CROWD else base
    labels = labelled.mark_text(align="left", dx=8, dy=-7, fontSize=10).encode(
        y="value:Q", text="resolution:Q", opacity=_opacity(0.7)
    )
    layers = [bars, *ring(base, points), labels, dots]
    front = [row for row in points if row["is_front"]]
    if front:
        line = alt.Chart(rows(front)).mark_line(interpolate="step-after", color="#888", strokeWidth=1.5)
        layers.insert(0, line.encode(x="cost:Q", y="value:Q", order="cost:Q"))
    return alt.layer(*layers).properties(height=280)


def _opacity(off: float, on: float = 1.0) -> Any:
    """Return the opacity of marks that may be on the true front, and of the others."""
    return alt.condition("datum.may_be", alt.value(on), alt.value(off))
