"""Tables of costs: of each cell in the runtime that the map decides by, and in the others that were measured."""

from collections.abc import Mapping
from typing import Any

from resomap.cells.measurement import ALONE, runtime_words, why_unsteady
from resomap.report.blocks import Align, Table
from resomap.report.material import Material, scaled
from resomap.statistics import Position

_NUMBERS: tuple[Align, ...] = ("number",) * 10


def costs(material: Material) -> Table | None:
    """Return the table of each cell's costs: measured with untrained weights, and of its own training."""
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
                _with_quartiles(
                    cost.get("end_to_end_ms_median"), cost.get("end_to_end_ms_q1"), cost.get("end_to_end_ms_q3")
                ),
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
            *("cell", "parameters (10⁶)", "FLOPs (10⁹)", "latency (ms) [quartiles]", "from JPEG (ms)"),
            "images/s (at batch)",
            *("memory, batch 1 (MB)", "weights (MB)", "training (min)", "images/s, training", "memory, training (MB)"),
        ],
        rows,
        ("text", *_NUMBERS),
        note,
    )


def runtimes(material: Material) -> Table | None:
    """Return the table of each cell in further runtimes and precisions; None where no others were measured."""
    rows = []
    for (model, size), content in material.evidence.costs.items():
        others = content.get("others") or []
        for one in [content, *others] if others else []:
            rows.append(
                [
                    f"{model} @ {size} px",
                    runtime_words(one),
                    str(one["precision"]),
                    str(one["threads"]),
                    _with_quartiles(*(one.get(f"latency_ms_{name}") for name in ("median", "q1", "q3")))
                    + (" unsteady" if why_unsteady({**one, "schema": content.get("schema")}) else ""),
                    _at(one.get("throughput_images_per_second_median"), one.get("best_batch")),
                    scaled(one.get("peak_memory_bytes_batch_1"), 1e6),
                    scaled(one.get("file_bytes"), 1e6),
                ]
            )
    if not rows:
        return None
    return Table(
        "Cost in each runtime",
        [
            *("cell", "runtime", "precision", "threads", "latency (ms) [quartiles]", "images/s (at batch)"),
            *("memory, batch 1 (MB)", "file (MB)"),
        ],
        rows,
        ("text", "text", "text", *_NUMBERS[:5]),
        "The map decides by the first runtime of each cell; figures of two runtimes, precisions or numbers of threads "
        "are not compared there.",
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
        found += f", while other programs took up to {max(known):.1f} cores."
    else:
        found += ", alone on it." if len(known) == len(costs) else "."
    sizes = sorted({str(one["image"]) for one in costs if one.get("image")})
    image = f" From JPEG: from the bytes of one of {' or '.join(sizes)} px, decoded and resized, to its class."
    return found + (image if sizes else "")


def _with_quartiles(value: float | None, low: float | None, high: float | None) -> str:
    text = scaled(value, 1)
    return text if low is None or high is None else f"{text} [{scaled(low, 1)}, {scaled(high, 1)}]"


def _at(value: float | None, batch: int | None) -> str:
    text = scaled(value, 1)
    return text if batch is None else f"{text} ({batch})"


def _mean(values: list[float | None] | list[int | None], unit: float) -> str:
    known = [value for value in values if value is not None]
    return scaled(sum(known) / len(known), unit) if known else "–"
