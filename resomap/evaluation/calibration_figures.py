"""Calibration of a training's answers in the evaluation record: as trained, and with temperature scaling."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from resomap.cells.predictions import SplitPredictions
from resomap.compute.temperature import cross_fitted, fit_temperature, tempered
from resomap.statistics import calibration


def calibration_figures(splits: Mapping[str, SplitPredictions]) -> dict[str, Any]:
    """Return the calibration of each split of one training's predictions, as the evaluation record has it.

    The temperature is that of the validation images; on these themselves `tempered` is cross-fitted, groups whole. A
    test image chooses nothing.
    """
    chosen = splits["val"]
    temperature = fit_temperature(chosen.log_probabilities, np.asarray(chosen.labels))
    found: dict[str, Any] = {}
    for split, part in splits.items():
        labels, of = np.asarray(part.labels), part.groups
        scaled = (
            cross_fitted(part.log_probabilities, labels, of)
            if split == "val"
            else tempered(part.log_probabilities, temperature)
        )
        found[split] = {
            "temperature": temperature,
            "as_trained": _plain(part.log_probabilities, labels, of),
            "tempered": _plain(scaled, labels, of),
        }
    return found


def _plain(log_probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> dict[str, float] | None:
    found = calibration(log_probabilities, labels, groups)
    return asdict(found) if found else None
