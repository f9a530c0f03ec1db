"""Trial of a learning rate: a short training on a part of the training images, judged on the images held out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from resomap.cells import microbatch_choice
from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.inference import evaluation_batch
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.core.errors import Diverged, PermanentFailure
from resomap.data.chosen_rows import ChosenRows
from resomap.data.split import Member, assign
from resomap.data.store import Images, Store
from resomap.train.batches import TrainingBatches
from resomap.train.events import NullObserver
from resomap.train.known_features import FeaturePass, KnownFeatures
from resomap.train.loop import Loop
from resomap.train.objective import Objective
from resomap.train.probing import probe_data
from resomap.train.starting import crop_store, initial_state, starting_network, training_data
from resomap.train.state import TrainingState

TRAIN, HELD_OUT = "train", "held_out"


@dataclass(frozen=True, kw_only=True)
class RateTrials:
    """Trials of one model: the same images, network, draws and number of steps for each rate.

    A trial is a pure function of the rate. `between` runs after each step, and may end a trial by raising.
    """

    study: Study
    cell: Cell  # the model at the resolution of the search
    recipe: Training  # of the trials
    store: Store
    device: Device
    between: Callable[[], None]
    _features: list[KnownFeatures] = field(default_factory=list, init=False, repr=False)

    @property
    def images(self) -> dict[str, int]:
        """Number of images that trials learn from, and that judge them."""
        return {name: len(images.names) for name, images in self._parts.items()}

    def run(self, rate: float) -> dict[str, Any]:
        """Train at a rate; returns `value` of the recipe's metric at the best epoch, `epoch` and `reason`.

        Where the training diverges, `value` and `epoch` are None and the reason says it. Raises PermanentFailure for
        what no rate could mend.
        """
        recipe, study, seed = self.recipe.with_rate(rate), self.study, self.recipe.learning_rate_search.seed
        built = starting_network(study.config, recipe, self.cell, len(self.store.classes), seed)
        execution = Execution.of(self.device, recipe.amp, recipe.channels_last)
        execution.activate()
        state = initial_state(built, recipe, execution)
        state.microbatch = microbatch_choice.require(study, self.cell)
        batches = TrainingBatches(
            self._parts[TRAIN], recipe, seed, pinned=self.device.is_cuda, size=self.store.resolution
        )
        data = training_data(study.config, recipe, self.store, built, batches, self._parts[HELD_OUT])
        if recipe.trainable == "head":
            data = probe_data(data, state.model, self._known(state, data.normalisation, execution).of)
        loop = Loop(
            state=state,
            recipe=recipe,
            seed=seed,
            data=data,
            objective=Objective(recipe, data.batches.labels, data.classes, self.device.torch),
            execution=execution,
            observer=_Stopping(self.between),
        )
        try:
            loop.run()
        except Diverged as error:
            return {"value": None, "epoch": None, "reason": str(error).partition(";")[0]}
        return {"value": state.best.value, "epoch": state.best.epoch, "reason": None}

    def _known(self, state: TrainingState, normalisation: Normalisation, execution: Execution) -> KnownFeatures:
        """Return the features of the frozen network, which has the same weights in each trial."""
        if not self._features:
            one_pass = FeaturePass(
                cell=self.cell,
                model=state.model,
                execution=execution,
                normalisation=normalisation,
                batch=evaluation_batch(self.recipe, state.microbatch),
                between=self.between,
            )
            self._features.append(one_pass.known())
        return self._features[0]

    @cached_property
    def _parts(self) -> dict[str, Images]:
        """Images to learn from and images held out: by class, images that belong together in one part.

        With folds they are all images outside the test split. Raises PermanentFailure where one part is empty.
        """
        images, blocks = self.store.split("train"), self.store.blocks("train")
        members = [
            Member(name, str(label), str(label), name if blocks is None else f"block {blocks[row]}")
            for row, (name, label) in enumerate(zip(images.names, images.labels.tolist(), strict=True))
        ]
        settings = self.recipe.learning_rate_search
        shares = {TRAIN: 1 - settings.held_out, HELD_OUT: settings.held_out}
        part_of = assign(members, shares, settings.seed)
        rows = {part: np.flatnonzero([part_of[name] == part for name in images.names]) for part in shares}
        if min(map(len, rows.values())) < 2:
            raise PermanentFailure(
                f"{len(images.names)} training images are too few to hold {settings.held_out:g} of them out; set "
                "training.learning_rate to a number"
            )
        crops = crop_store(self.store, self.recipe).split("train")  # the same images in the same order
        sources = {TRAIN: crops, HELD_OUT: images}
        return {part: _chosen(sources[part], of) for part, of in rows.items()}


def _chosen(images: Images, rows: np.ndarray) -> Images:
    weights = None if images.weights is None else images.weights[rows]
    names = [images.names[row] for row in rows]
    return replace(
        images, pixels=ChosenRows(images.pixels, rows), labels=images.labels[rows], names=names, weights=weights
    )


class _Stopping(NullObserver):
    """Observer that calls a function after each step and each batch of validation."""

    def __init__(self, between: Callable[[], None]) -> None:
        self._between = between

    def after_step(self, state: TrainingState) -> None:
        self._between()

    def during_validation(self, state: TrainingState) -> None:
        self._between()
