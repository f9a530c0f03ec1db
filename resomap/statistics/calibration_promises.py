"""Measurement of what the calibration errors promise, on simulated models whose calibration is known.

Two classes with normal scores, whose logits give the true probabilities; the model states these logits times a factor.
"""

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from resomap.statistics.calibration import Calibration, calibration
from resomap.statistics.recalibration import CONFIDENCE


class Measured(NamedTuple):
    """A claim with its condition, the share of simulated models that meet it, and the share's Monte Carlo error."""

    claim: str
    condition: str
    measured: float
    error: float


def calibrated_inside(accuracy: float, images: int, draws: int, groups: int | None = None) -> Measured:
    """Measure how often the interval of a calibrated model holds an error of 0.

    With `groups` the images fall into so many, within which half of what decides an answer is shared.
    """
    found = [one.low == 0 for one, _ in _models(accuracy, images, 1.0, draws, groups)]
    condition = f"accuracy {accuracy}, {images} images" + (f" in {groups} groups" if groups else "")
    return _measured(f"calibrated: the {CONFIDENCE:.0%} interval holds 0", condition, found)


def error_covered(accuracy: float, images: int, factor: float, draws: int, groups: int | None = None) -> Measured:
    """Measure how often the interval of a model whose logits are times `factor` holds its true error."""
    found = [one.low <= true <= one.high for one, true in _models(accuracy, images, factor, draws, groups)]
    condition = f"logits x {factor:.2f}, accuracy {accuracy}, {images} images" + (
        f" in {groups} groups" if groups else ""
    )
    return _measured(f"the {CONFIDENCE:.0%} interval holds the calibration error", condition, found)


def uncalibrated_called(accuracy: float, images: int, factor: float, draws: int) -> Measured:
    """Measure how often a model whose logits are times `factor` is called uncalibrated."""
    found = [one.is_uncalibrated for one, _ in _models(accuracy, images, factor, draws, None)]
    condition = f"logits x {factor:.2f}, accuracy {accuracy}, {images} images"
    return _measured("uncalibrated: the interval excludes 0", condition, found)


def _models(
    accuracy: float, images: int, factor: float, draws: int, groups: int | None
) -> list[tuple[Calibration, float]]:
    """Return the calibration found of each drawn set of images, and the model's true error."""
    random = np.random.default_rng(0)
    # Scores of variance 1, so far apart that the better half decides right with this accuracy.
    apart = 2 * float(stats.norm.ppf(accuracy))
    of_many = apart * np.abs(random.normal(apart / 2, 1, 400_000))
    true = float(np.abs(special.expit(of_many * factor) - special.expit(of_many)).mean())
    group = None if groups is None else np.arange(images) % groups
    found = []
    for _ in range(draws):
        logits = apart * np.abs(random.normal(apart / 2, 1, images))  # of the class that the model answers
        chance = random.normal(size=images)
        if group is not None:
            chance = (chance + random.normal(size=groups or 0)[group]) / np.sqrt(2)
        labels = (stats.norm.cdf(chance) > special.expit(logits)).astype(int)
        stated = -np.logaddexp(0, np.stack([-logits, logits], axis=1) * factor)
        one = calibration(stated, labels, group)
        if one is not None:
            found.append((one, true))
    return found


def _measured(claim: str, condition: str, found: list[bool]) -> Measured:
    share = float(np.mean(found))
    return Measured(claim, condition, share, float(np.sqrt(share * (1 - share) / len(found))))
