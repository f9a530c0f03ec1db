"""Input pipeline alone: batches as a model takes them, from the prepared store and from timm's loader."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import timm.data
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from resomap.bench.ratios import Paired
from resomap.bench.test_images import Material, open_store, study_of
from resomap.compute.device import keep_freed_memory
from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.train.augment import augment, flip
from resomap.train.batches import Batch, TrainingBatches

BATCH = 32
SECONDS = 1.0  # at least, that one side of a pair is measured
CPU = torch.device("cpu")


class Files(Dataset[tuple[Image.Image, int]]):
    """Data set of image files as timm's loader takes them: it sets `transform`."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.transform = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        with Image.open(self._files[index]) as image:
            picture = image.convert("RGB")
        return (self.transform(picture) if self.transform else picture), 0


def compare_inputs(
    material: Material, directory: Path, resolution: int, workers: int, repeats: int
) -> tuple[Paired, Paired]:
    """Measure the images a second of the prepared store and of timm's loader, in turn.

    Returned are two pairs: uint8 batches, and batches as a model takes them. uint8 is what a GPU gets from either and
    then normalises itself: here [N, H, W, 1 or 3], timm's (its inner loader, below the prefetcher) [N, 3, H, W] with
    the flip done. A model takes float32 [N, 3, H, W], flipped and normalised, all of it made on this processor.
    """
    keep_freed_memory()  # as the trainer does on a processor
    study = study_of(material, directory, "test_resnet", [resolution])
    store = open_store(directory, resolution)
    train = store.split("train")
    normalisation = Normalisation(tuple(store.mean), tuple(store.std))
    recipe = study.config.training
    batches = TrainingBatches(train, recipe, 0, pinned=False)

    def ready(batch: Batch) -> Tensor:
        pixels = flip(on_device(batch.pixels, CPU), batch.draws, recipe.augment)
        images = augment(to_unit_range(pixels), batch.draws, recipe.augment)
        return in_layout(normalisation(images), recipe.channels_last)

    files = [material.folder / name for name in train.names]
    stored = timm_loader(files, resolution, workers, is_training=True, as_uint8=True)
    made = timm_loader(files, resolution, workers, is_training=True)
    return (
        Paired.measure(
            lambda _round: _rate(lambda epoch: (batch.pixels for batch in batches.epoch(epoch))),
            lambda _round: _rate(lambda _epoch: (images for images, _ in stored)),
            repeats,
        ),
        Paired.measure(
            lambda _round: _rate(lambda epoch: map(ready, batches.epoch(epoch))),
            lambda _round: _rate(lambda _epoch: (images for images, _ in made)),
            repeats,
        ),
    )


def _rate(epoch: Callable[[int], Iterable[Tensor]]) -> float:
    """Return the images a second of whole epochs, as many as a second takes."""
    began, images, epochs = time.monotonic(), 0, 0
    while (taken := time.monotonic() - began) < SECONDS or not epochs:
        images += sum(len(batch) for batch in epoch(epochs))
        epochs += 1
    return images / taken


def difference(material: Material, directory: Path, resolution: int) -> float:
    """Return the mean absolute difference between our pixels and timm's evaluation transform, in levels of 255."""
    store = open_store(directory, resolution)
    test = store.split("test")
    files = [material.folder / name for name in test.names]
    loader = timm_loader(files, resolution, 0, is_training=False)
    theirs = torch.cat([images for images, _ in loader]).numpy().transpose(0, 2, 3, 1) * 255
    ours = np.asarray(test.pixels).astype(np.float32)
    return float(np.abs(theirs - ours).mean())


def timm_loader(
    files: list[Path],
    resolution: int,
    workers: int,
    is_training: bool,
    as_uint8: bool = False,
    device: torch.device = CPU,
) -> "torch.utils.data.DataLoader":
    """Return timm's loader, made to do the same work as ours.

    The same work: whole image to the resolution, one flip, no mean or deviation in evaluation. `as_uint8`: the loader
    inside its prefetcher, which leaves the normalisation to the device. For a GPU it is the prefetcher, as in timm's
    train.py.
    """
    loader = timm.data.create_loader(
        Files(files),  # type: ignore[arg-type]
        input_size=(3, resolution, resolution),
        batch_size=BATCH,
        is_training=is_training,
        use_prefetcher=as_uint8 or device.type == "cuda",
        scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
        hflip=0.5,
        color_jitter=None,  # type: ignore[arg-type]
        interpolation="bicubic",
        crop_pct=1.0,
        mean=(0.5,) * 3 if is_training else (0.0,) * 3,
        std=(0.25,) * 3 if is_training else (1.0,) * 3,
        num_workers=workers,
        persistent_workers=workers > 0 and is_training,
        device=device,
    )
    return loader.loader if as_uint8 else loader
