"""Small studies on drawn images, for benchmarks that train real cells."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.files import read_json
from resomap.study import CURRENT, Study


def draw_images(folder: Path, count: int, size: int) -> None:
    """`count` greyscale PNG files of size x size pixels in two class folders, a dark one and a light one."""
    random = np.random.default_rng(0)
    for label, brightness in (("dark", 100), ("light", 150)):
        (folder / label).mkdir(parents=True)
        for number in range(count // 2):
            pixels = random.normal(brightness, 40, (size, size)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")


def make_study(directory: Path, config: dict[str, Any]) -> Study:
    """A study on the CPU in a new directory, its images prepared."""
    directory.mkdir()
    with contextlib.chdir(directory), contextlib.redirect_stdout(sys.stderr):
        study = Study.open({"device": "cpu", **config})
        study.save(CURRENT)
        make_manifest(study.config.data, DATA_DIRECTORY, 1)
        for resolution in study.config.resolutions:
            prepare_images(DATA_DIRECTORY, resolution, 1)
    return study


def start_training(study: Study, directory: Path, threads: int = 1) -> "subprocess.Popen[bytes]":
    """The training of the study's first cell, as a process of its own."""
    words = [sys.executable, "-m", "resomap", "train", study.cells()[0].name, "--threads", str(threads)]
    return subprocess.Popen(words, cwd=directory, stdin=subprocess.DEVNULL)


def train_seconds(study: Study, directory: Path) -> float:
    """How long the first cell trained, as its marker has it: without start, validation and evaluation."""
    return float(read_json(directory / study.cells()[0].marker)["cost"]["train_seconds"])
