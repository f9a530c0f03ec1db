"""Rule `learning_rate`: images and settings that a model's learning rate is found by."""

import sys
from typing import Any

from resomap.cells import learning_rate_choice, microbatch_choice
from resomap.cells.cell import Cell
from resomap.config.load import training_for
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.rules.images import ImagesRule
from resomap.planning.rules.model_step import ModelStep


class LearningRateRule(ModelStep):
    """Answers to the rule of learning rates. Each method takes Snakemake's wildcards."""

    def __init__(self, grid: Grid, images: ImagesRule) -> None:
        super().__init__(grid)
        self._images = images
        self._looked_for: set[str] = set()  # models whose rate may have been found elsewhere

    def of(self, cell: Cell) -> list[str]:
        """Return the file with the cell's learning rate, where that is to be found.

        An outcome that trainings here or in the tracker began with is adopted first, so that nothing is searched anew.
        """
        if not learning_rate_choice.is_auto(self._study, cell):
            return []
        if self._grid.api.is_planning and cell.model not in self._looked_for:
            self._looked_for.add(cell.model)
            self._adopt(cell.model)
        return [str(learning_rate_choice.path_of(cell.model))]

    def inputs(self, wildcards: Any) -> list[str]:
        """Return the images of the trials, and the microbatch where that is `auto`; none where the rate is found.

        A rate of other settings is found anew, whatever its time.
        """
        with one_sentence():
            self._grid.set_up()
            path = learning_rate_choice.path_of(wildcards.model)
            if learning_rate_choice.read(self._study, wildcards.model) is not None and not self._grid.api.is_forced:
                self._grid.accept(path)
                return []
            if path.exists():
                self._grid.make_again(path)
            cell = self.largest(wildcards.model)
            is_auto = microbatch_choice.is_auto(self._study, cell)
            microbatch = [str(microbatch_choice.path_of(cell.model))] if is_auto else []
            recipe = training_for(self._study.config, cell.model)
            return [*self._images.of_sizes(recipe.stored_sizes(cell.resolution)), *microbatch]

    def search(self, wildcards: Any) -> str:
        """Return the param of the step: a digest of all that decides its outcome."""
        with one_sentence():
            return self._study.rate_search(wildcards.model)

    def largest(self, model: str) -> Cell:
        """Return the model at the resolution of the trials."""
        return learning_rate_choice.trial_cell(self._study, model)

    def _adopt(self, model: str) -> None:
        study = self._study
        if learning_rate_choice.read(study, model) is not None:
            return
        in_tracker = self._grid.complete_in_tracker(model)
        found = learning_rate_choice.of_trained(study, model) or learning_rate_choice.of_markers(
            study, model, in_tracker
        )
        if found is not None:
            with one_sentence():
                found.write()
            print(f"{model}: the learning rate {found.rate:g} is adopted, found for {found.origin}", file=sys.stderr)
