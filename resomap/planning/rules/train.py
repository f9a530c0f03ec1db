"""Rules `train` and `model`: inputs, resources and the fingerprint of a training."""

from typing import Any

from resomap.cells import microbatch_choice
from resomap.estimates.memory_request import memory_mb
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.rules.features import FeaturesRule
from resomap.planning.rules.images import ImagesRule
from resomap.planning.rules.learning_rate import LearningRateRule
from resomap.planning.snakemake_api import asked_often


class TrainRule:
    """Answers to the rules of training: of the grid, and of targets beside it."""

    def __init__(self, grid: Grid, images: ImagesRule, rates: LearningRateRule, features: FeaturesRule) -> None:
        self._grid, self._images, self._rates, self._features = grid, images, rates, features
        self._study, self._api = grid.study, grid.api

    def markers(self, wildcards: Any = None) -> list[str]:
        """Return the markers of the grid, or of one model (`results/{model}/all`), in the grid or not."""
        return [str(cell.marker) for cell in self._grid.cells_here(getattr(wildcards, "model", None))]

    @asked_often
    def inputs(self, wildcards: Any) -> list[str]:
        """Return the images of the cell, its microbatch and learning rate where `auto`, and features that it shares.

        None for a done cell.

        A done cell that named the images would be trained again as soon as they have to be made anew for a
        neighbour, `ancient` or not: Snakemake takes a missing input that a job is going to write for an update.
        """
        cell = self._grid.cell(wildcards)
        if self._grid.is_done(cell) and not self._api.is_forced:
            return []
        self._grid.warn_if_elsewhere(cell)
        needed = [*self._images.for_training(cell), *self._rates.of(cell), *self._features.of(cell)]
        if not microbatch_choice.is_auto(self._study, cell):
            return needed
        return [*needed, str(microbatch_choice.path_of(cell.model))]

    @asked_often
    def fingerprint(self, wildcards: Any) -> str:
        """Return the only param of a training: a digest of everything that its result depends on."""
        return self._study.fingerprint(self._grid.cell(wildcards))

    @asked_often
    def priority(self, wildcards: Any) -> int:
        """Return the cell's rank: what the configuration names first, then the longest."""
        return self._grid.rank(self._grid.cell(wildcards)) if self._api.is_planning else 0

    @property
    def retries(self) -> int:
        """Number of times that a failed training is tried again, by the process that plans.

        It is 0 inside a job on a cluster, which has the memory and the time of the attempt that failed.
        """
        return self._grid.config.retries if self._api.is_main_process else 0

    @asked_often
    def attempt(self, _wildcards: Any, attempt: int) -> int:
        """Return the number of the attempt, from 1; a resource, because params are reasons to run again."""
        return attempt

    @property
    def threads(self) -> Any:
        """CPU cores of a training: a number, or a function of its wildcards where it may take a whole device."""
        return self._threads if self._grid.slots.each > 1 else self._grid.threads()

    @property
    def gpu(self) -> Any:
        """Shares of a GPU that a training takes: a number, or a function of its wildcards where GPUs are shared."""
        return self._gpu if self._grid.slots.each > 1 else 1

    @asked_often
    def _gpu(self, wildcards: Any) -> int:
        with one_sentence():
            cell = self._study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            return self._grid.slots.taken_by(cell)

    @asked_often
    def _threads(self, wildcards: Any) -> int:
        return self._grid.threads() if self._gpu(wildcards) == 1 else self._grid.threads_alone()

    @asked_often
    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Return main memory of a training in MB: more with each attempt, never more than there is altogether."""
        with one_sentence():
            cell = self._study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            return min(memory_mb(self._study, cell, self._grid.device_kind, attempt), self._api.memory_mb)
