"""Multiple comparisons with the best (Hsu 1981, 1996): by how much each cell may be worse than the best.

The best of many estimates is the luckiest of them, so its estimate is too high. These bounds do not rest on it: for
whichever cell is truly the best (no one needs to know which), all cells' distances to it are bounded at once.
"""

from dataclasses import dataclass

import numpy as np

from resomap.statistics.differences import Differences
from resomap.statistics.interval_estimates import DRAWS, Estimates
from resomap.statistics.samples import Position

FOR_EVER = 1e9  # times the seeds


@dataclass(frozen=True)
class Deficit:
    """Deficit of a cell to the best (0..1): estimate, simultaneous 95 % upper bound, and whether it may be the best.

    All upper bounds of a map and all its `may_be_best` are right together in 95 % of maps, however often the map was
    looked at as seeds were added.
    """

    estimate: float
    upper: float
    may_be_best: bool


class Deficits:
    """The deficits of all cells, and their bounds with more images or seeds and the same estimates."""

    def __init__(self, estimates: Estimates, draws: int = DRAWS) -> None:
        self.estimates = estimates
        values = estimates.values
        # gaps[i, j]: by how much j looks better than i. What i needs, seen from each rival j.
        self._gaps = values[None, :] - values[:, None]
        self._differences = Differences(estimates, draws)
        self._errors = self._differences.errors
        self._critical = np.array([self._critical_value(cell) for cell in range(len(values))])

    def table(self) -> dict[Position, Deficit]:
        """Return the deficit of each cell; that of an only cell is 0."""
        upper = self.upper_bounds(self._errors)
        beaten = self.beaten()
        return {
            cell: Deficit(max(0.0, float(self._gaps[index].max())), float(upper[index]), not bool(beaten[index].any()))
            for index, cell in enumerate(self.estimates.cells)
        }

    def beaten(self) -> np.ndarray:
        """Return bool [K, K]: row i is shown to be worse than column j, with 95 % confidence over the whole row."""
        return (self._gaps > self._critical[:, None] * self._errors) & ~np.eye(len(self._gaps), dtype=bool)

    def upper_bounds(self, errors: np.ndarray) -> np.ndarray:
        """Return upper bounds [K] of the deficits with these standard errors [K, K] of the differences."""
        bounds = self._gaps + self._critical[None, :] * errors
        np.fill_diagonal(bounds, 0.0)
        return np.clip(bounds.max(axis=1), 0.0, 1.0)

    def errors(self, images: float, seeds: float) -> np.ndarray:
        """Return standard errors [K, K] of the differences with so many times the images and the seeds (about)."""
        return self._differences.scaled(images, seeds)

    def least_provable(self) -> float:
        """Return the least upper bound that these images could give, if all cells were alike and trained for ever."""
        bounds = self._critical[None, :] * self.errors(1.0, FOR_EVER)
        np.fill_diagonal(bounds, 0.0)
        return float(np.clip(bounds.max(axis=1).min(), 0.0, 1.0))

    def _critical_value(self, index: int) -> float:
        """Return the critical value, one-sided, of all others against this cell (Dunnett).

        It is for the event that holds if this cell is the best.
        """
        others = np.array([other for other in range(len(self.estimates.cells)) if other != index], dtype=int)
        if len(others) == 0:
            return 0.0
        studentised = self._differences.studentised(others, np.full(len(others), index))
        return float(np.quantile(studentised.max(axis=1), 1 - self.estimates.error_rate))
