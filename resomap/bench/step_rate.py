"""Step rate: training end to end, beside the same steps on one batch on the device and a loop on timm's loader."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2

from resomap.bench.input_pipeline import BATCH, timm_loader
from resomap.bench.ratios import Paired
from resomap.bench.test_images import Material, open_store, study_of
from resomap.cells.study import Study
from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation, in_layout
from resomap.config import Training
from resomap.data.store import Store
from resomap.models.build import build_model, logits
from resomap.train.batches import Batch, TrainingBatches
from resomap.train.events import NullObserver
from resomap.train.loop import Loop, TrainingData
from resomap.train.objective import Objective, make_optimizer, make_scaler
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar


class _OnDevice(TrainingBatches):
    """Batches that are the first one again and again, its pixels on the device already."""

    def __init__(self, real: TrainingBatches, device: torch.device) -> None:
        first = next(iter(real.epoch(0)))
        self._batch = replace(
            first, pixels=first.pixels.to(device), labels=first.labels.to(device), draws=first.draws.to(device)
        )
        self.steps, self.batch_size = real.steps, real.batch_size

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        return iter([self._batch] * (self.steps - first_step))


class Steps:
    """One model at one resolution, ready to train epochs in three ways."""

    def __init__(self, study: Study, directory: Path, folder: Path, threads: int, epoch_seconds: float = 0.0) -> None:
        """Take a study of one cell, prepared in `directory`, and the folder of its images.

        Each measurement is of whole epochs, as many as `epoch_seconds` take, and of one at least.
        """
        self._study = study
        self._recipe: Training = study.config.training
        self._name, self._resolution = study.config.models[0], study.config.resolutions[0]
        self._store: Store = open_store(directory, self._resolution)
        self._folder, self._epoch_seconds = folder, epoch_seconds
        self._device = choose_device(study.config.device)
        prepare_backend(self._device, False, threads)
        if not self._device.is_cuda:
            keep_freed_memory()  # as the trainer does, and good for the other sides too
        self._execution = Execution.of(self._device, self._recipe.amp, self._recipe.channels_last)
        self._data = TrainingData(
            batches=TrainingBatches(self._store.split("train"), self._recipe, 0, pinned=self._device.is_cuda),
            validation=self._store.split("val"),
            classes=len(self._store.classes),
            normalisation=Normalisation(tuple(self._store.mean), tuple(self._store.std)),
        )

    @classmethod
    def of(cls, material: Material, directory: Path, model: str, resolution: int, threads: int) -> "Steps":
        """Prepare a study of one model on test images in a directory."""
        study = study_of(material, directory, model, [resolution], batch_size=BATCH)
        return cls(study, directory, material.folder, threads)

    def beside_synthetic(self, repeats: int) -> Paired:
        """Measure end to end (gathering, copying, augmenting, stepping) / the same on one batch on the device."""
        synthetic = replace(self._data, batches=_OnDevice(self._data.batches, self._device.torch))
        state = self._state()
        return Paired.measure(
            lambda _round: self._epoch(state, self._data), lambda _round: self._epoch(state, synthetic), repeats
        )

    def beside_timm(self, workers: int, repeats: int) -> Paired:
        """Measure end to end / a plain loop on timm's loader: same model, batch, precision, layout and optimizer."""
        files = [self._folder / name for name in self._store.split("train").names]
        loader = timm_loader(files, self._resolution, workers, is_training=True, device=self._device.torch)
        state, model = self._state(), self._model()
        optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
        place = self._device.torch

        def plain(_round: int) -> float:
            model.train()
            began, count = time.monotonic(), 0
            while True:
                for images, labels in loader:
                    images = in_layout(images.to(place), self._recipe.channels_last)
                    with self._execution.autocast():
                        output = logits(model(images))
                    loss = F.cross_entropy(output.float(), labels.to(place))
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                    optimizer.step()
                    count += len(images)
                if (taken := self._taken(began)) >= self._epoch_seconds:
                    return count / taken

        return Paired.measure(lambda _round: self._epoch(state, self._data), plain, repeats)

    def _model(self) -> torch.nn.Module:
        torch.manual_seed(0)
        return self._execution.place(build_model(self._name, self._resolution, self._data.classes).model)

    def _state(self) -> TrainingState:
        model = self._model()
        return TrainingState(
            model=model,
            optimizer=make_optimizer(model, self._recipe),
            scaler=make_scaler(self._execution),
            ema=None,
            best=BestSoFar(self._recipe.monitor),
            sums=RunningSums.zero(self._device.torch),
        )

    def _epoch(self, state: TrainingState, data: TrainingData) -> float:
        """Return the images a second of an epoch's steps, as the trainer counts them: without validation."""
        loop = Loop(
            state=state,
            recipe=self._recipe,
            seed=0,
            data=data,
            objective=Objective(self._recipe, self._data.batches.labels, data.classes, self._device.torch),
            execution=self._execution,
            observer=NullObserver(),
        )
        before = state.images_seen
        began = time.monotonic()
        while True:
            state.epoch = state.step = 0
            loop._train_epoch()
            if (taken := self._taken(began)) >= self._epoch_seconds:
                return (state.images_seen - before) / taken

    def _taken(self, began: float) -> float:
        """Return the seconds since `began`, once the device has done all that it was given."""
        if self._device.is_cuda:
            torch.cuda.synchronize()
        return time.monotonic() - began
