"""Rule `microbatch`: settings that a model's microbatch depends on, and resources to find it."""

import json
from typing import Any

from resomap.cells import microbatch_choice
from resomap.cells.cell import Cell
from resomap.planning.grid import one_sentence
from resomap.planning.rules.model_step import ModelStep


class MicrobatchRule(ModelStep):
    """Answers to the rule of microbatches. Each method takes Snakemake's wildcards."""

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

    def largest(self, model: str) -> Cell:
        """Return the model at the largest resolution that takes a microbatch of `auto`."""
        return microbatch_choice.cells_of(self._study, model)[0]
