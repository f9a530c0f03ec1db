"""Drawn images, for benchmarks that train real cells and need no data set."""

from pathlib import Path

import numpy as np
from PIL import Image


def draw_images(folder: Path, count: int, size: int) -> None:
    """Draw `count` greyscale PNG files of size x size pixels in two class folders, a dark one and a light one."""
    random = np.random.default_rng(0)
    for label, brightness in (("dark", 100), ("light", 150)):
        (folder / label).mkdir(parents=True)
        for number in range(count // 2):
            pixels = random.normal(brightness, 40, (size, size)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
