"""Training of one recorded cell, by the package's own loop on images in memory, and what is kept of it."""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.record.compact import pack
from resomap.compute.device import choose_device, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor, evaluation_batch, predict
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.data.store import Images
from resomap.models.build import build_model
from resomap.models.layer_versions import load_tensors
from resomap.models.operations import count_operations, parameter_count
from resomap.train.batches import TrainingBatches
from resomap.train.events import NullObserver
from resomap.train.loop import Loop, TrainingData
from resomap.train.objective import Objective, make_optimizer
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar

HISTORY = ("train/loss", "val/loss", "val/accuracy", "val/balanced_accuracy", "val/macro_f1", "val/auroc")
POOL_BATCH = 250  # images a forward pass, of which the bits of a result depend


@dataclass(frozen=True)
class ScaledImages:
    """The three splits of a grid's images at one resolution."""

    resolution: int
    classes: int
    train: Images
    val: Images
    pool: Images


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """Record of one training. Epochs count from 1; E of them, V validation and P pool images, C classes."""

    predicted: np.ndarray  # uint8 [E, V]
    best_epoch: int
    kept_epochs: tuple[int, ...]  # best and last, which may be one
    val: np.ndarray  # uint8 [2, kept, V, C - 1], of `compact.pack`
    pool: np.ndarray  # uint8 [2, kept, P, C - 1]
    history: np.ndarray  # float32 [len(HISTORY), E]; NaN where undefined
    seconds: np.ndarray  # float32 [E]: of the steps alone, without validation
    flops: int  # of one image's forward pass
    params: int


class _Watcher(NullObserver):
    """Observer that notes what the network says of each validation image after each epoch, and how long it took."""

    def __init__(self, predictor: Predictor, val: Images, batch: int) -> None:
        self._predictor, self._val, self._batch = predictor, val, batch
        self._seconds_before = 0.0
        self.predicted: list[np.ndarray] = []
        self.seconds: list[float] = []
        self.latest = np.empty(0)  # log-probabilities [V, C] after the latest epoch
        self.best = np.empty(0)  # after the best one

    def after_epoch(self, state: TrainingState) -> None:
        """Note the epoch."""
        self.latest = predict(self._predictor, self._val, self._batch)
        self.predicted.append(self.latest.argmax(axis=1).astype(np.uint8))
        self.seconds.append(state.seconds - self._seconds_before)
        self._seconds_before = state.seconds
        if state.best.epoch == state.epoch:
            self.best = self.latest


def train_cell(model: str, images: ScaledImages, recipe: Training, seed: int, threads: int = 1) -> CellRecord:
    """Train a model on images in memory on the CPU, from its random start to its last epoch."""
    device = choose_device("cpu")
    prepare_backend(device, deterministic=False, threads=threads)
    execution = Execution.of(device, recipe.amp, recipe.channels_last)
    torch.manual_seed(seed)
    network = execution.place(build_model(model, images.resolution, images.classes).model)
    state = TrainingState(
        model=network,
        optimizer=make_optimizer(network, recipe),
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        ema=None,
        best=BestSoFar(recipe.monitor),
        sums=RunningSums.zero(device.torch),
    )
    batches = TrainingBatches(images.train, recipe, seed, pinned=False)
    normalisation = _statistics(images.train)
    predictor = Predictor(Inference(network, execution), normalisation)
    watcher = _Watcher(predictor, images.val, evaluation_batch(recipe, None))
    Loop(
        state=state,
        recipe=recipe,
        seed=seed,
        data=TrainingData(batches=batches, validation=images.val, classes=images.classes, normalisation=normalisation),
        objective=Objective(recipe, images.train.labels, images.classes, device.torch),
        execution=execution,
        observer=watcher,
    ).run()
    return _record(state, watcher, predictor, images)


def _statistics(train: Images) -> Normalisation:
    """Mean and deviation of the training images, as preparation gives them to networks without pretrained weights."""
    values = np.asarray(train.pixels, dtype=np.float64) / 255
    return Normalisation((float(values.mean()),), (float(values.std()),))


def _record(state: TrainingState, watcher: _Watcher, predictor: Predictor, images: ScaledImages) -> CellRecord:
    assert state.best.epoch is not None
    last = [(state.epoch, watcher.latest, predict(predictor, images.pool, POOL_BATCH))]
    best = []
    if state.best.epoch != state.epoch:
        load_tensors(state.model, state.best_weights)
        best = [(state.best.epoch, watcher.best, predict(predictor, images.pool, POOL_BATCH))]
    epochs, val, pool = zip(*(best + last), strict=True)
    rows = [[np.nan if row[name] is None else row[name] for row in state.history] for name in HISTORY]
    return CellRecord(
        predicted=np.stack(watcher.predicted),
        best_epoch=state.best.epoch,
        kept_epochs=epochs,
        val=pack(np.stack(val)),
        pool=pack(np.stack(pool)),
        history=np.array(rows, dtype=np.float32),
        seconds=np.array(watcher.seconds, dtype=np.float32),
        flops=count_operations(state.model, images.resolution).flops,
        params=parameter_count(state.model),
    )
