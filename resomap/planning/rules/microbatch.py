"""Rule `microbatch`: settings that a model's microbatch depends on, and resources to find it."""

import json
from typing import Any

from resomap.cells import microbatch_choice
from resomap.estimates.memory_request import memory_mb
from resomap.planning.grid import Grid, one_sentence


class MicrobatchRule:
    """Answers to the rule of microbatches. Each method takes Snakemake's wildcards."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study

    def check(self, wildcards: Any) -> list[str]:
        """Return the input of the step: none. A microbatch of other settings is found anew, whatever its time."""
        with one_sentence():
            self._grid.set_up()
            path = microbatch_choice.path_of(wildcards.model)
            if path.exists() and microbatch_choice.read(self._study, wildcards.model) is None:
                self._grid.make_again(path)
        return []

    def settings(self, wildcards: Any) -> str:
        """Return the param of the step: the settings that decide whether it runs again, as JSON."""
        with one_sentence():
            return json.dumps(microbatch_choice.settings(self._study, wildcards.model), sort_keys=True)

    def priority(self, _wildcards: Any) -> int:
        """Return the priority of the step: above each training."""
        return len(self._grid.planned) + 1

    def threads(self, *_: Any) -> int:
        """Return the CPU cores of the step: those of a training."""
        return self._grid.threads()

    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Return main memory in MB: that of the model's largest training, never more than there is altogether."""
        with one_sentence():
            cell = microbatch_choice.cells_of(self._study, wildcards.model)[0]
            return min(memory_mb(self._study, cell, self._grid.device_kind, attempt), self._grid.api.memory_mb)
