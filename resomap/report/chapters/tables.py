"""Tables of the report: resolutions, costs, what is missing, the origin of each training."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from resomap.cells.measurement import ALONE, runtime_words, why_unsteady
from resomap.report.blocks import Align, Table
from resomap.report.material import Material, name, quality, scaled, training_name, training_number
from resomap.statistics import Position
from resomap.summary.document import Training

_RUN_DIGITS = 8
_NUMBERS: tuple[Align, ...] = ("number",) * 9


def resolutions(material: Material) -> Table | None:
    """Return the table of each model's best resolution and those that cannot be told from it."""
    rows = []
    for one in material.map.model_resolutions:
        claims = ", ".join(f"{claim.better} > {claim.worse}" for claim in one.claims)
        alike = ", ".join(map(str, one.alike))
        rows.append([one.model, str(one.best), alike, claims or "none"])
    if not rows:
        return None
    noise = all(one.includes_training_noise for one in material.map.model_resolutions)
    note = "On validation, simultaneous over all models. " + (
        "A claim holds for training at these resolutions again."
        if noise
        else "With one seed a cell training noise is unknown, so nothing can be claimed about training at a resolution."
    )
    return Table(
        "The best resolution of each model",
        ["model", "best (px)", "not distinguishable from it (px)", "shown to be better (px)"],
        rows,
        ["text", "number", "text", "text"],
        note,
    )


def costs(material: Material) -> Table | None:
    """Return the table of each square's costs: measured with untrained weights, and of its own training."""
    rows: list[list[str]] = []
    for position in [(model, size) for model in material.map.models for size in material.map.resolutions]:
        measured = material.evidence.costs.get(position)
        trained = [one for one in material.map.trainings if (one.model, one.resolution) == position]
        if measured is None and not trained:
            continue
        cost = measured or {}
        rows.append(
            [
                f"{position[0]} @ {position[1]} px",
                scaled(cost.get("params"), 1e6),
                scaled(cost.get("flops"), 1e9),
                _with_quartiles(cost.get("latency_ms_median"), cost.get("latency_ms_q1"), cost.get("latency_ms_q3"))
                + (" unsteady" if why_unsteady(cost) else "")
                + _why_not_compared(material, position, cost),
                _at(cost.get("throughput_images_per_second_median"), cost.get("best_batch")),
                scaled(cost.get("peak_memory_bytes_batch_1"), 1e6),
                scaled(cost.get("weights_bytes"), 1e6),
                _mean([one.train_seconds for one in trained], 60),
                _mean([one.images_per_second for one in trained], 1),
                _mean([one.peak_training_memory_bytes for one in trained], 1e6),
            ]
        )
    if not rows:
        return None
    trained_on = sorted({one.device for one in material.map.trainings if one.device})
    note = _where_measured(list(material.evidence.costs.values()))
    note += f" Trained on {', '.join(trained_on)} (mean over the seeds)." if trained_on else ""
    return Table(
        "Cost of each cell",
        [
            *("cell", "parameters (10⁶)", "FLOPs (10⁹)", "latency (ms) [quartiles]", "images/s (at batch)"),
            *("memory, batch 1 (MB)", "weights (MB)", "training (min)", "images/s, training", "memory, training (MB)"),
        ],
        rows,
        ("text", *_NUMBERS),
        note,
    )


def missing(material: Material) -> Table | None:
    """Return the table of what the whole map would have, and why it is not there."""
    rows = [
        [
            f"{gap.model} @ {gap.resolution} px" + ("" if gap.seed is None else f", {training_name(gap)}"),
            gap.what,
            gap.reason,
        ]
        for gap in material.map.missing
    ]
    if not rows:
        return None
    return Table("What is missing, and why", ["cell", "what", "why"], rows, ["text", "text", "text"])


def deviations(material: Material) -> Table | None:
    """Return the table of trainings that are not, to the bit, as an uninterrupted one would have been, and why."""
    rows = [
        [_training(one), "; ".join(one.exact_reasons) or "its marker gives no reason"]
        for one in material.map.trainings
        if not one.exact
    ]
    if not rows:
        return None
    return Table(
        "What was deviated from",
        ["training", "why it is not repeatable to the bit"],
        rows,
        ["text", "text"],
    )


def origins(material: Material) -> Table | None:
    """Return the table of where each training comes from."""
    metric = f"test/{material.map.metric}"
    rows = [
        [
            name(one),
            training_number(one),
            "here" if one.origin == "local" else "tracker",
            _time(one.finished_at),
            "–" if one.epochs is None else f"{one.epochs}",
            "–" if one.best_epoch is None else f"{one.best_epoch}",
            quality(one.metrics.get(metric)),
            "yes" if one.exact else "no",
            one.device or "–",
            one.fingerprint,
            (one.run_id or "–")[:_RUN_DIGITS],
        ]
        for one in material.map.trainings
    ]
    if not rows:
        return None
    return Table(
        "Every training, and where it comes from",
        [
            *("cell", "seed", "trained", "finished (UTC)", "epochs", "used epoch", f"test {material.metric}", "exact"),
            *("device", "fingerprint", "run"),
        ],
        rows,
        ["text", "number", "text", "nowrap", "number", "number", "number", "text", "text", "code", "code"],
        "The fingerprint stands for all that decides the result: settings, seed, images, recipe. The run is the one "
        "in the tracker.",
    )


def _why_not_compared(material: Material, position: Position, cost: Mapping[str, Any]) -> str:
    """Return what tells a latency from those that it is not ranked beside; empty where it is ranked."""
    square = material.squares.get(position)
    if square is None or square.cost is None or square.cost.is_comparable:
        return ""
    words = [runtime_words(cost), str(cost["device"]), str(cost["precision"]), f"threads: {cost['threads']}"]
    return f" (not compared: {', '.join(filter(None, words))})"


def _where_measured(costs: list[Mapping[str, Any]]) -> str:
    """Return on which devices and in which runtimes inference was measured, and what else computed there then."""
    if not costs:
        return "Inference is not measured yet."
    ways = {
        f"{one.get('device')}{f' in {words}' if (words := runtime_words(one)) else ''} ({one.get('precision')}, "
        f"threads: {one.get('threads')})"
        for one in costs
    }
    found = f"Inference measured on {' and on '.join(sorted(ways))}"
    others = [one.get("other_programs_cores") for one in costs]
    known = [one for one in others if one is not None]
    if known and max(known) > ALONE:
        return f"{found}, while other programs took up to {max(known):.1f} cores."
    return f"{found}, alone on it." if len(known) == len(costs) else f"{found}."


def _training(one: Training) -> str:
    return f"{name(one)}, {training_name(one)}"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _with_quartiles(value: float | None, low: float | None, high: float | None) -> str:
    text = scaled(value, 1)
    return text if low is None or high is None else f"{text} [{scaled(low, 1)}, {scaled(high, 1)}]"


def _at(value: float | None, batch: int | None) -> str:
    text = scaled(value, 1)
    return text if batch is None else f"{text} ({batch})"


def _mean(values: list[float | None] | list[int | None], unit: float) -> str:
    known = [value for value in values if value is not None]
    return scaled(sum(known) / len(known), unit) if known else "–"
