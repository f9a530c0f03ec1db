"""Resources of a step that serves all trainings of a model, and precedes them."""

from abc import ABC, abstractmethod
from typing import Any

from resomap.cells.cell import Cell
from resomap.estimates.memory_request import memory_mb
from resomap.planning.grid import Grid, one_sentence


class ModelStep(ABC):
    """Answers to a rule with the wildcard `model`. Each method takes Snakemake's wildcards."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study

    @abstractmethod
    def largest(self, model: str) -> Cell:
        """Return the cell by which the step takes most memory. Raises ResomapError where it has nothing to find."""

    def priority(self, _wildcards: Any) -> int:
        """Return the priority of the step: above each training."""
        return len(self._grid.planned) + 1

    def threads(self, *_: Any) -> int:
        """Return the CPU cores of the step: those of a training."""
        return self._grid.threads()

    def gpu(self, wildcards: Any) -> int:
        """Return the shares of a GPU that the step takes: those of a training of the largest cell."""
        with one_sentence():
            return 1 if self._grid.slots.each == 1 else self._grid.slots.taken_by(self.largest(wildcards.model))

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Return main memory in MB: that of a training of the largest cell, never more than there is altogether."""
        with one_sentence():
            needed = memory_mb(self._study, self.largest(wildcards.model), self._grid.device_kind, attempt)
            return min(needed, self._grid.api.memory_mb)
