"""Calibration of the trainings, as their evaluation records have it; records of earlier versions have none."""

from collections.abc import Mapping
from typing import Any

from resomap.cells.predictions import EVALUATED
from resomap.evaluation.calibration_figures import calibration_figures
from resomap.statistics import Position
from resomap.summary import document
from resomap.summary.evidence import Evidence, Trained


def metrics(one: Trained) -> dict[str, float | None]:
    """Return the metrics of a training's marker, with the calibration error freed of its bias where that is known."""
    found = dict(one.marker.metrics)
    for split, known in calibrations(one).items():
        if known and known.as_trained:
            found[f"{split}/calibration_error"] = known.as_trained.error
    return found


def of_folds(evidence: Evidence, position: Position) -> document.Calibrated | None:
    """Return the calibration of a square on the images that its folds judge together; None without folds."""
    parts = [one for _, one in evidence.pooled.get(position, {}).values()]
    if not parts:
        return None
    # Of several seeds the first: their means would be surer than any of the networks.
    return document.Calibrated(**calibration_figures({"val": parts[0]})["val"])


def calibrations(one: Trained) -> dict[str, document.Calibrated | None]:
    """Return the calibration of a training at its own resolution, by split."""
    entries: Mapping[str, Any] = (one.evaluation or {"test_resolutions": {}})["test_resolutions"]
    entry = entries.get(str(one.cell.resolution)) or {}
    found = {split: entry.get(split, {}).get("calibration") for split in EVALUATED}
    return {split: document.Calibrated(**content) if content else None for split, content in found.items()}
