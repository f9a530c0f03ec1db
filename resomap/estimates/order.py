"""Order of training: cells that the configuration names first, then the longest, so that none is left for the end.

However wrong the predictions, a GPU is idle only while no cell waits; longest first also keeps the last one short
(Graham 1969: at most 4/3 of the shortest possible time). docs/growth.md has what it brings.
"""

from collections.abc import Collection, Iterable

from resomap.cells.cell import Cell
from resomap.estimates.duration import Durations


class Order:
    """Priorities of jobs for Snakemake; a higher one starts earlier."""

    def __init__(self, durations: Durations, named: Iterable[str]) -> None:
        """Take the models, resolutions and cells that come before all others, in the order of `named`."""
        self._durations = durations
        self._places = {name: place for place, name in enumerate(named)}
        self._ranks: dict[Cell, int] = {}

    def named_in_vain(self, cells: Iterable[Cell]) -> list[str]:
        """Return the names that none of these cells has."""
        return [name for name in self._places if name not in {each for cell in cells for each in _names(cell)}]

    def priority(self, cell: Cell, cells: Collection[Cell]) -> int:
        """Rank of the cell among all `cells`, from 1 for the last one to start.

        A rank in place of seconds: the solver that Snakemake schedules with adds priorities up and compares the
        sums within a tolerance.
        """
        if cell not in self._ranks:
            self._ranks = {each: rank for rank, each in enumerate(self.of({cell, *cells})[::-1], start=1)}
        return self._ranks[cell]

    def of(self, cells: Iterable[Cell]) -> list[Cell]:
        """Sort cells, the first to start first."""
        return sorted(cells, key=lambda cell: (self._place(cell), -self._durations.seconds(cell), cell.name))

    def _place(self, cell: Cell) -> int:
        return min((self._places[name] for name in _names(cell) if name in self._places), default=len(self._places))


def _names(cell: Cell) -> tuple[str, ...]:
    return cell.name, cell.map_position, cell.model, str(cell.resolution)
