"""Training without an end on drawn images, by the loop of a real one: for `benchmarks.loaded`."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch

from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.data.store import Images
from resomap.models.build import build_model
from resomap.train.batches import TrainingBatches
from resomap.train.events import NullObserver
from resomap.train.loop import Loop, TrainingData
from resomap.train.objective import Objective, make_optimizer, make_scaler
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar

IMAGES, BATCH, CLASSES = 512, 32, 2


class _Enough(Exception):
    """No further step is wanted for now."""


class EndlessTraining(NullObserver):
    """Training on the CPU by the default recipe, which goes on step by step for as long as it is asked to."""

    def __init__(self, model: str, resolution: int, threads: int) -> None:
        recipe = Training(epochs=1_000_000, batch_size=BATCH)
        device = choose_device("cpu")
        prepare_backend(device, False, threads)
        keep_freed_memory()
        execution = Execution.of(device, recipe.amp, recipe.channels_last)
        execution.activate()
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (IMAGES, resolution, resolution, 1), dtype=np.uint8)
        images = Images(pixels, np.arange(IMAGES) % CLASSES, [str(number) for number in range(IMAGES)])
        data = TrainingData(
            batches=TrainingBatches(images, recipe, 0, pinned=False),
            validation=None,
            classes=CLASSES,
            normalisation=Normalisation((0.5,), (0.25,)),
        )
        torch.manual_seed(0)
        network = execution.place(build_model(model, resolution, CLASSES).model)
        self._state = TrainingState(
            model=network,
            optimizer=make_optimizer(network, recipe),
            scaler=make_scaler(execution),
            ema=None,
            best=BestSoFar(recipe.monitor),
            sums=RunningSums.zero(device.torch),
        )
        self._loop = Loop(
            state=self._state,
            recipe=recipe,
            seed=0,
            data=data,
            objective=Objective(recipe, data.batches.labels, CLASSES, device.torch),
            execution=execution,
            observer=self,
        )
        self._is_enough: Callable[[], bool] = lambda: True
        self.steps = 0

    @property
    def images(self) -> int:
        """Number of images of all steps so far."""
        return self._state.images_seen

    def go_on(self, is_enough: Callable[[], bool]) -> None:
        """Train until `is_enough` says so, which is asked after each step."""
        self._is_enough = is_enough
        try:
            self._loop.run()
        except _Enough:
            return

    def digest(self) -> str:
        """Return a digest of the weights and statistics of the network."""
        digest = hashlib.sha256()
        for tensor in self._state.model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def after_step(self, state: TrainingState) -> None:
        self.steps += 1
        if self._is_enough():
            raise _Enough
