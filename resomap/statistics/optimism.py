"""Optimism of validation values: by how much they are above those of test images, over all cells together.

Each training's epoch was chosen on the validation images, which makes its value there too high: by half a point with
400 images, by several with 60. The gap is shown, and never subtracted in a decision: a choice that uses it would use
test labels.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from resomap.statistics.interval_estimates import Estimates
from resomap.statistics.repeated_looks import CONFIDENCE


@dataclass(frozen=True)
class Gap:
    """Mean of validation minus test over the cells, a difference of shares, with its 95 % interval."""

    value: float
    low: float
    high: float
    cells: int


def validation_gap(validation: Estimates, test: Estimates) -> Gap | None:
    """Return the gap over the cells that both have; None where there is none.

    Paired by cell: what a training is good for is in both. The images of the two splits are different ones, so their
    variances add; the interval is for these trainings and other images.
    """
    both = [cell for cell in validation.cells if cell in test.cells]
    if not both:
        return None
    parts = [estimates.only(both) for estimates in (validation, test)]
    value = float((parts[0].values - parts[1].values).mean())
    variances = [float((one.image_covariance.mean()) + one.grain) for one in parts]
    freedom = min(one.freedom for one in parts)
    level = (1 + CONFIDENCE) / 2
    quantile = float(stats.norm.ppf(level) if np.isinf(freedom) else stats.t.ppf(level, freedom))
    half = quantile * sum(variances) ** 0.5
    return Gap(value, max(-1.0, value - half), min(1.0, value + half), len(both))
