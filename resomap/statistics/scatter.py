"""Training variance: how much the seeds of a cell scatter, and how well a few seeds can tell.

Two to five seeds say little about a variance: s² of three has two degrees of freedom, and a bootstrap over them covers
far too rarely. So all cells speak together of one training variance, whose degrees of freedom add up. The assumptions:
seeds are independent and about normal, and no cell's trainings scatter far more than the others'. A cell whose seeds
scatter more than all together keeps its own larger variance, which makes the result cautious where trainings are alike.

Where the resolutions, or the models, scatter unlike each other (Bartlett's test), each resolution or model has a
variance of its own, with no more degrees of freedom than its own seeds have: small images often train less steadily.

One training that collapsed must not blur the whole map: a cell whose seeds scatter beyond what chance explains beside
all others keeps its own variance and has no part in the common one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

# Chance of setting a cell apart in a map whose cells all scatter alike: too small to make the common variance too low.
SET_APART = 0.001


# Level of the test by which resolutions or models get variances of their own: missing unlike ones costs more (false
# claims) than splitting alike ones does (some power).
UNLIKE = 0.1


@dataclass(frozen=True, eq=False)
class Scatter:
    """Variance between the seeds of each cell [cells], with the degrees of freedom [cells] that it was estimated by.

    Cells with the same number in `pools` int [cells] share one estimate and its error. `training` is the part that
    images do not explain, over all cells.
    """

    variance: np.ndarray
    freedom: np.ndarray
    pools: np.ndarray
    training: float

    def only(self, keep: np.ndarray) -> "Scatter":
        """Return the scatter of fewer cells; it stays what all of them said together."""
        return Scatter(self.variance[keep], self.freedom[keep], self.pools[keep], self.training)


def pool(
    observed: np.ndarray,
    freedom: np.ndarray,
    own: np.ndarray,
    scale: np.ndarray,
    cells: Sequence[tuple[str, int]] | None = None,
) -> Scatter | None:
    """Pool the variances between seeds over all cells; None where no cell has two seeds.

    observed [cells]: sample variances between the seeds' values; freedom [cells]: seeds - 1 (0: observed is not read);
    own [cells] > 0: the part of the variance that comes from images judged differently by each seed; scale [cells] > 0:
    how the common training variance is shared out, on average 1; cells: (model, resolution) of each, by which they may
    scatter differently (None: they do not).
    """
    if freedom.sum() == 0:
        return None
    several = freedom > 0
    steady = several.copy()
    steady[several] = steady_ones(observed[several], freedom[several], own[several], scale[several])
    training = _common_variance(observed[steady], freedom[steady], own[steady], scale[steady])
    pools = np.zeros(len(observed), dtype=int)
    if cells is not None:
        # One collapsed training is to speak no louder here than the largest that chance would make.
        highest = stats.chi2.isf(SET_APART, np.maximum(freedom, 1)) / np.maximum(freedom, 1)
        pools = _pools(np.minimum(observed / (training * scale + own), highest), np.where(several, freedom, 0), cells)
    variance = np.empty(len(observed))
    freedoms = np.empty(len(observed))
    for number in np.unique(pools):
        inside = pools == number
        speaking = inside & several
        # What scatters more together is no outlier: only among its own kind can a cell be one.
        speaking[speaking] = steady_ones(observed[speaking], freedom[speaking], own[speaking], scale[speaking])
        if not speaking.any():  # a resolution without a second seed: that of all cells stands in
            speaking = steady
        common = _common_variance(observed[speaking], freedom[speaking], own[speaking], scale[speaking])
        variance[inside] = common * scale[inside] + own[inside]
        freedoms[inside] = freedom[speaking].sum()
    variance[several] = np.maximum(variance[several], observed[several])
    return Scatter(variance, freedoms, pools, training)


def _pools(standard: np.ndarray, freedom: np.ndarray, cells: Sequence[tuple[str, int]]) -> np.ndarray:
    """Return the pool int [cells] of each cell: by resolution or by model where these scatter unlike, else one.

    standard [cells]: variance over the common one; freedom [cells]: 0 for a cell that cannot tell.
    """
    best, lowest = np.zeros(len(cells), dtype=int), UNLIKE / 2  # two tests
    for axis in (1, 0):
        _, numbers = np.unique(np.array([str(cell[axis]) for cell in cells]), return_inverse=True)
        freedoms = np.bincount(numbers, weights=freedom)
        sums = np.bincount(numbers, weights=freedom * standard)
        told = freedoms > 0
        if told.sum() < 2:
            continue
        p = _bartlett(sums[told] / freedoms[told], freedoms[told])
        if p < lowest:
            best, lowest = numbers, p
    return best


def _bartlett(variances: np.ndarray, freedom: np.ndarray) -> float:
    """Return the p value of equal variances (Bartlett 1937)."""
    total = freedom.sum()
    pooled = float(freedom @ variances / total)
    if pooled <= 0:
        return 1.0
    least = 1e-6 * pooled
    statistic = total * np.log(pooled) - freedom @ np.log(np.maximum(variances, least))
    correction = 1 + ((1 / freedom).sum() - 1 / total) / (3 * (len(freedom) - 1))
    return float(stats.chi2.sf(statistic / correction, len(freedom) - 1))


def steady_ones(observed: np.ndarray, freedom: np.ndarray, own: np.ndarray, scale: np.ndarray) -> np.ndarray:
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
