"""Training variance: how much the seeds of a cell scatter, and how well a few seeds can tell.

Two to five seeds say little about a variance: s² of three has two degrees of freedom, and a bootstrap over them covers
far too rarely. So all cells speak together of one training variance, whose degrees of freedom add up. The assumptions:
seeds are independent and about normal, and no cell's trainings scatter far more than the others'. A cell whose seeds
scatter more than all together keeps its own larger variance, which makes the result cautious where trainings are alike
and halves the false claims where some cells scatter four times as much; that they then stay above 5 % is what this
cannot mend (`python -m resomap.statistics` measures it).
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize


@dataclass(frozen=True, eq=False)
class Scatter:
    """Variance between the seeds of each cell [cells], and the degrees of freedom of all of them together.

    `training` is the common part that images do not explain.
    """

    variance: np.ndarray
    freedom: float
    training: float


def pool(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray) -> Scatter | None:
    """Variances between seeds as all cells say, or None where no cell has two seeds.

    observed [cells]: sample variances between the seeds' values; freedom [cells]: seeds - 1 (0: observed is not
    read); own [cells] > 0: the part of the variance that comes from images judged differently by each seed.
    """
    total = float(freedom.sum())
    if total == 0:
        return None
    several = freedom > 0
    training = _common_variance(observed[several], freedom[several], own[several])
    variance = training + own
    variance[several] = np.maximum(variance[several], observed[several])
    return Scatter(variance, total, training)


def _common_variance(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray) -> float:
    """The variance t >= 0 at which observed / (t + own) is 1 on average (Paule & Mandel 1982)."""

    def surplus(training: float) -> float:
        return float(freedom @ (observed / (training + own) - 1))

    highest = float(observed.max())
    if surplus(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(surplus, 0.0, highest, xtol=1e-12))
