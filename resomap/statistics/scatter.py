"""Training variance: how much the seeds of a cell scatter, and how well a few seeds can tell.

Two to five seeds say little about a variance: s² of three has two degrees of freedom, and a bootstrap over them covers
far too rarely. So all cells speak together of one training variance, whose degrees of freedom add up. The assumptions:
seeds are independent and about normal, and no cell's trainings scatter far more than the others'. A cell whose seeds
scatter more than all together keeps its own larger variance, which makes the result cautious where trainings are alike
and halves the false claims where some cells scatter four times as much; that they then stay above 5 % is what this
cannot mend (`python -m resomap.statistics` measures it).

One training that collapsed must not blur the whole map: a cell whose seeds scatter beyond what chance explains beside
all others keeps its own variance and has no part in the common one.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

# Chance of setting a cell apart in a map whose cells all scatter alike: too small to make the common variance too low.
SET_APART = 0.001


@dataclass(frozen=True, eq=False)
class Scatter:
    """Variance between the seeds of each cell [cells], and the degrees of freedom of all of them together.

    `training` is the common part that images do not explain.
    """

    variance: np.ndarray
    freedom: float
    training: float


def pool(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray, scale: np.ndarray) -> Scatter | None:
    """Pool the variances between seeds over all cells; None where no cell has two seeds.

    observed [cells]: sample variances between the seeds' values; freedom [cells]: seeds - 1 (0: observed is not read);
    own [cells] > 0: the part of the variance that comes from images judged differently by each seed; scale [cells] > 0:
    how the common training variance is shared out, on average 1.
    """
    total = float(freedom.sum())
    if total == 0:
        return None
    several = freedom > 0
    steady = several.copy()
    steady[several] = _steady(observed[several], freedom[several], own[several], scale[several])
    training = _common_variance(observed[steady], freedom[steady], own[steady], scale[steady])
    total = float(freedom[steady].sum())
    variance = training * scale + own
    variance[several] = np.maximum(variance[several], observed[several])
    return Scatter(variance, total, training)


def _steady(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return a mask [cells] of those that speak of the common variance: all but outliers, which are at most half.

    One after the other, the largest first: its variance over that of the rest against the F distribution, corrected
    for the number of cells (after Cochran 1941).
    """
    kept = np.ones(len(observed), dtype=bool)
    while kept.sum() > max(2, len(kept) // 2):
        common = _common_variance(observed[kept], freedom[kept], own[kept], scale[kept])
        largest = int(np.argmax(np.where(kept, observed / (common * scale + own), -1.0)))
        rest = kept.copy()
        rest[largest] = False
        common = _common_variance(observed[rest], freedom[rest], own[rest], scale[rest])
        expected = common * scale[largest] + own[largest]
        p = stats.f.sf(observed[largest] / expected, freedom[largest], freedom[rest].sum())
        if p >= SET_APART / kept.sum():
            break
        kept = rest
    return kept


def _common_variance(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray, scale: np.ndarray) -> float:
    """Return the variance t >= 0 at which observed / (t scale + own) is 1 on average (Paule & Mandel 1982)."""

    def surplus(training: float) -> float:
        return float(freedom @ (observed / (training * scale + own) - 1))

    highest = float((observed / scale).max())
    if surplus(0.0) <= 0:
        return 0.0
    return float(optimize.brentq(surplus, 0.0, highest, xtol=1e-12))
