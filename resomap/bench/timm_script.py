"""Training by timm's own train.py, as a process: its package has no such file, a checkout of its repository does."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import timm
import torch

from resomap.bench.ratios import Paired
from resomap.bench.test_images import Material, open_store
from resomap.bench.train_process import train_once
from resomap.cells.study import Study
from resomap.compute.device import choose_device, precision
from resomap.config import Config
from resomap.core.errors import ResomapError
from resomap.data.store import Store

StudyIn: TypeAlias = Callable[[Path], Study]
EPOCHS = 4  # of which the last one counts, on both sides
# `Train: 1 [  14/15 (100%)] ... Time: 0.234s,  136.97/s  (0.330s,   97.01/s)`: the last brackets have the epoch's mean
MEAN_RATE = re.compile(r"Train: (\d+) .*? Time: .*?\(\s*[\d.]+s,\s*([\d.]+)/s\)")
DTYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}


def is_known(model: str) -> bool:
    """Return True if timm has a model of this name: train.py takes no torchvision names."""
    return bool(timm.is_model(model))


def beside_script(
    script: Path, material: Material, directory: Path, study_in: StudyIn, workers: int, repeats: int
) -> Paired:
    """Measure the images a second in the last epoch of `resomap train` and of timm's train.py, processes in turn.

    `study_in` makes a study of one cell in a directory, its images prepared there. Model, images, batch, precision,
    memory layout, optimizer, gradient clipping and flips are the same. Raises ResomapError where either fails.
    """
    folders = directory / "folders"

    def study(number: int) -> Study:
        return study_in(directory / str(number))

    config = study(0).config
    _link_splits(material, open_store(directory / "0", config.resolutions[0]), folders)

    def ours(number: int) -> float:
        return train_once(study(number), directory / str(number)).images_per_second

    def theirs(_number: int) -> float:
        return _run(script, config, folders, workers)

    return Paired.measure(ours, theirs, repeats)


def _link_splits(material: Material, store: Store, folders: Path) -> None:
    """Link the images into `train/<class>/` and `val/<class>/`, the same in each as ResoMap has."""
    for split in ("train", "val"):
        for name in store.split(split).names:
            file = folders / split / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to((material.folder / name).resolve())


def _run(script: Path, config: Config, folders: Path, workers: int) -> float:
    """Run train.py; return the images a second of the last epoch, as it prints them."""
    recipe, device = config.training, choose_device(config.device)
    model, resolution = config.models[0], str(config.resolutions[0])
    dtype = precision(recipe.amp, device)
    words = [
        *(str(folders), "--train-split", "train", "--val-split", "val", "--device", device.torch.type),
        *("--model", model, "--num-classes", str(len(list((folders / "train").iterdir())))),
        *("--input-size", "3", resolution, resolution, "--train-interpolation", "bicubic"),
        *(
            "--batch-size",
            str(recipe.batch_size),
            "--epochs",
            str(EPOCHS),
            "--warmup-epochs",
            "0",
            "--workers",
            str(workers),
        ),
        *("--opt", "adamw", "--lr", str(recipe.highest_rate), "--weight-decay", str(recipe.weight_decay)),
        *("--clip-grad", str(recipe.gradient_clip), "--hflip", str(recipe.augment.hflip)),
        *("--scale", "1", "1", "--ratio", "1", "1", "--color-jitter", "0", "--log-interval", "1000000"),
        *(("--amp", "--amp-dtype", DTYPES[dtype]) if dtype else ()),
        *(("--channels-last",) if recipe.channels_last else ()),
        *("--output", str(folders.parent / "timm")),
    ]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    rates = {int(epoch): float(rate) for epoch, rate in MEAN_RATE.findall(done.stdout + done.stderr)}
    if done.returncode or EPOCHS - 1 not in rates:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise ResomapError(f"{script} did not train {model} at {resolution} px: {last}")
    return rates[EPOCHS - 1]
