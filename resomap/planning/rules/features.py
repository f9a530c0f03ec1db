"""Rule `features`: images and settings of a frozen network's features, which the trainings of a square share."""

import json
from typing import Any

from resomap.cells import microbatch_choice, shared_features
from resomap.cells.cell import Cell
from resomap.estimates.memory_request import memory_mb
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.rules.images import ImagesRule
from resomap.planning.snakemake_api import asked_often


class FeaturesRule:
    """Answers to the rule of features. Each method takes Snakemake's wildcards, `model` and `resolution`."""

    def __init__(self, grid: Grid, images: ImagesRule) -> None:
        self._grid, self._images, self._study = grid, images, grid.study

    def of(self, cell: Cell) -> list[str]:
        """Return the list of the features that the cell's training shares; none where it shares none."""
        shares = shared_features.are_shared(self._study, cell)
        return [str(shared_features.path_of(cell.model, cell.resolution))] if shares else []

    def inputs(self, wildcards: Any) -> list[str]:
        """Return the images, and the microbatch where that is `auto`; none where the features are there.

        Features of other settings or images are computed anew, whatever their time.
        """
        cell = self._cell(wildcards)
        path = shared_features.path_of(cell.model, cell.resolution)
        if shared_features.are_there(self._study, cell) and not self._grid.api.is_forced:
            self._grid.accept(path)
            return []
        if path.exists():
            self._grid.make_again(path)
        is_auto = microbatch_choice.is_auto(self._study, cell)
        microbatch = [str(microbatch_choice.path_of(cell.model))] if is_auto else []
        return [*self._images.for_training(cell), *microbatch]

    @asked_often
    def settings(self, wildcards: Any) -> str:
        """Return the param of the step: the settings that decide whether it runs again, as JSON."""
        return json.dumps(shared_features.settings(self._study, self._cell(wildcards)), sort_keys=True)

    def priority(self, _wildcards: Any) -> int:
        """Return the priority of the step: above each training."""
        return len(self._grid.planned) + 1

    def threads(self, *_: Any) -> int:
        """Return the CPU cores of the step: those of a training, which decide bits."""
        return self._grid.threads()

    def gpu(self, wildcards: Any) -> int:
        """Return the shares of a GPU that the step takes: those of a training."""
        return 1 if self._grid.slots.each == 1 else self._grid.slots.taken_by(self._cell(wildcards))

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Return main memory in MB: that of a training, never more than there is altogether."""
        needed = memory_mb(self._study, self._cell(wildcards), self._grid.device_kind, attempt)
        return min(needed, self._grid.api.memory_mb)

    def _cell(self, wildcards: Any) -> Cell:
        """Return the first training of the square. Exits with one sentence where its trainings share no features."""
        with one_sentence():
            self._grid.set_up()
            target = self._study.target(wildcards.model, wildcards.resolution, "")
            return shared_features.require_shared(self._study, target.model, target.resolution)
