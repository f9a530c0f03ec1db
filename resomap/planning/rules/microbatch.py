"""What the rule `microbatch` asks: what a model's microbatch depends on, and whether the one that is there counts."""

import json
from typing import Any

from resomap.cells import microbatch_choice
from resomap.estimates.memory_request import memory_mb
from resomap.planning.grid import Grid, one_sentence


class MicrobatchRule:
    """The microbatches of the planned grid. Each method takes Snakemake's wildcards."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study

    def check(self, wildcards: Any) -> list[str]:
        """Input of the step: none. A number that was found under other settings is found anew, whatever its time."""
        with one_sentence():
            self._grid.announce()
            path = microbatch_choice.path_of(wildcards.model)
            if path.exists() and microbatch_choice.read(self._study, wildcards.model) is None:
                self._grid.make_again(path)
        return []

    def settings(self, wildcards: Any) -> str:
        """Param of the step: all that decides whether it runs again."""
        with one_sentence():
            return json.dumps(microbatch_choice.settings(self._study, wildcards.model), sort_keys=True)

    def priority(self, _wildcards: Any) -> int:
        """Above each training."""
        return len(self._grid.planned) + 1

    def threads(self, *_: Any) -> int:
        """CPU cores of the step: those of a training."""
        return self._grid.threads()

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Main memory: that of the model's largest training, never more than there is altogether."""
        with one_sentence():
            cell = microbatch_choice.cells_of(self._study, wildcards.model)[0]
            return min(memory_mb(self._study, cell, self._grid.device_kind, attempt), self._grid.api.memory_mb)
