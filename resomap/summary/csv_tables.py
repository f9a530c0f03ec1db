"""Rows of the map's CSV files: the same figures as in the document. docs/results.md describes the columns."""

from typing import Any

from resomap.summary.document import Estimate, Map, Measured, Square, Training

# Names carry their units.
COST_COLUMNS = (
    *("device", "params", "flops", "latency_ms_median", "latency_ms_q1", "latency_ms_q3"),
    *("throughput_images_per_second_median", "peak_memory_bytes_batch_1"),
)
TRAINING_COST = ("train_seconds", "images_per_second", "peak_training_memory_bytes")


def trainings(found: Map) -> list[dict[str, Any]]:
    """Return the rows of summary.csv: one for each finished training (model, resolution, fold, seed)."""
    return [
        {
            "model": one.model,
            "resolution": one.resolution,
            "seed": one.seed,
            **({"fold": one.fold} if found.folds else {}),
            "epochs": one.epochs,
            "best_epoch": one.best_epoch,
            "exact": one.exact,
            "origin": one.origin,
            **_metrics(one),
            **_calibration(one),
            "within_margin": one.within_margin,
            "is_recommended": found.recommends(one.model, one.resolution),
            **{name: getattr(one, name) for name in TRAINING_COST},
            "training_device": one.device,
            "upsampled": found.square(one).upsampled,
            **_cost(found.square(one).cost),
            "fingerprint": one.fingerprint,
        }
        for one in found.trainings
    ]


def squares(found: Map) -> list[dict[str, Any]]:
    """Return the rows of cells.csv: one for each square of the map, all seeds together, with 95 % intervals."""
    fronts = {front.cost: {(one.model, one.resolution) for one in front.places} for front in found.fronts}
    return [
        {
            "model": one.model,
            "resolution": one.resolution,
            "seeds": len(one.seeds),
            "upsampled": one.upsampled,
            **_qualities(one),
            "deficit": one.deficit.estimate if one.deficit else None,
            "deficit_upper": one.deficit.upper if one.deficit else None,
            "may_be_best": one.deficit.may_be_best if one.deficit else None,
            "is_recommended": found.recommends(one.model, one.resolution),
            "best_test_resolution": one.best_test_resolution,
            **_cost(one.cost),
            **{f"on_front_{cost}": (one.model, one.resolution) in places for cost, places in fronts.items()},
        }
        for one in found.squares
    ]


def matrix(found: Map) -> list[dict[str, Any]]:
    """Return the rows of matrix.csv: one for each model, training and test resolution, mean over the seeds."""
    return [
        {
            "model": one.model,
            "trained_at": one.trained_at,
            "tested_at": one.tested_at,
            "is_recommended": found.recommends(one.model, one.trained_at),
            "seeds": one.seeds,
            f"val/{found.metric}": one.validation,
            f"test/{found.metric}": one.test,
        }
        for one in found.matrix
    ]


def _metrics(one: Training) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, value in one.metrics.items():
        low, high = one.intervals.get(name) or (None, None)
        columns |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return columns


def _calibration(one: Training) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for split, found in one.calibration.items():
        tempered = found.tempered if found else None
        columns |= {
            f"{split}/calibration_error_tempered": tempered.error if tempered else None,
            f"{split}/calibration_error_tempered_low": tempered.low if tempered else None,
            f"{split}/calibration_error_tempered_high": tempered.high if tempered else None,
        }
    known = one.calibration.get("val")
    return {"temperature": known.temperature if known else None, **columns}


def _cost(cost: Measured | None) -> dict[str, Any]:
    return {name: getattr(cost, name) if cost else None for name in COST_COLUMNS}


def _qualities(square: Square) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for split, qualities in (("val", square.validation), ("test", square.test)):
        for metric, quality in qualities.items():
            columns |= _quality(f"{split}/{metric}", quality)
    return columns


def _quality(name: str, quality: Estimate | None) -> dict[str, Any]:
    return {
        name: quality.value if quality else None,
        f"{name}_low": quality.low if quality else None,
        f"{name}_high": quality.high if quality else None,
        f"{name}_deviation": quality.deviation if quality else None,
    }
