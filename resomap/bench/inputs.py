"""The input path alone: batches as a model takes them, from the prepared store and from timm's loader."""

import time
from pathlib import Path

import numpy as np
import timm.data
import torch
from PIL import Image
from torch.utils.data import Dataset

from resomap.bench.material import Material, open_store, study_of
from resomap.bench.ratios import Paired
from resomap.inputs import Normalisation, in_layout, to_unit_range
from resomap.train.augment import augment
from resomap.train.batches import TrainingBatches

BATCH = 32
CPU = torch.device("cpu")


class Files(Dataset[tuple[Image.Image, int]]):
    """Image files as timm's loader takes them: it sets `transform`."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self.transform = None

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        with Image.open(self._files[index]) as image:
            picture = image.convert("RGB")
        return (self.transform(picture) if self.transform else picture), 0


def compare_inputs(material: Material, directory: Path, resolution: int, workers: int, repeats: int) -> Paired:
    """Images a second of both, in turn: augmented (a horizontal flip), normalised, [N, 3, H, W]."""
    study = study_of(material, directory, "test_resnet", [resolution])
    store = open_store(directory, resolution)
    train = store.split("train")
    normalisation = Normalisation(tuple(store.mean), tuple(store.std))
    recipe = study.config.training

    def ours(epoch: int) -> float:
        batches = TrainingBatches(train, recipe, 0, pinned=False)
        began, count = time.monotonic(), 0
        for batch in batches.epoch(epoch):
            images = augment(to_unit_range(batch.pixels, CPU), batch.draws, recipe.augment)
            count += len(in_layout(normalisation(images), recipe.channels_last))
        return count / (time.monotonic() - began)

    files = [material.folder / name for name in train.names]
    loader = timm_loader(files, resolution, workers, is_training=True)

    def theirs(_epoch: int) -> float:
        began, count = time.monotonic(), 0
        for images, _ in loader:
            count += len(images)
        return count / (time.monotonic() - began)

    return Paired.measure(ours, theirs, repeats)


def difference(material: Material, directory: Path, resolution: int) -> float:
    """Mean absolute difference of the delivered pixels, in levels of 255: ours beside timm's evaluation transform."""
    store = open_store(directory, resolution)
    test = store.split("test")
    files = [material.folder / name for name in test.names]
    loader = timm_loader(files, resolution, 0, is_training=False)
    theirs = torch.cat([images for images, _ in loader]).numpy().transpose(0, 2, 3, 1) * 255
    ours = np.asarray(test.pixels).astype(np.float32)
    return float(np.abs(theirs - ours).mean())


def timm_loader(files: list[Path], resolution: int, workers: int, is_training: bool) -> "torch.utils.data.DataLoader":
    """timm's, made to do the same work: whole image to the resolution, one flip, no mean or deviation in evaluation."""
    return timm.data.create_loader(
        Files(files),  # type: ignore[arg-type]
        input_size=(3, resolution, resolution),
        batch_size=BATCH,
        is_training=is_training,
        use_prefetcher=False,
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
        device=CPU,
    )
