"""Random crops of training images, from pixels that are finer than the input size, so that no crop is enlarged.

Images are stored once more at `Training.crop_source`, where the smallest crop still has as many pixels as the network's
input. A crop is cut in whole pixels there and scaled down with antialiasing, as images are when they are prepared.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from resomap.config.training_keys import CROP_ASPECT
from resomap.train.augment import AREA, ASPECT, X, Y


def crop_each(pixels: Tensor, draws: Tensor, scale: float, size: int) -> Tensor:
    """Crop pixels uint8 [N, C, S, S] by draws float32 [N, COLUMNS] on the CPU, and scale the crops to `size`.

    A crop has `scale` to 1 of the area and an aspect ratio of up to CROP_ASPECT either way (Szegedy et al. 2015), at a
    place that is drawn evenly. Returns uint8 [N, C, size, size] on the device of the pixels.
    """
    found = [
        functional.resized_crop(image, top, left, height, width, [size, size], antialias=True)
        for image, (top, left, height, width) in zip(pixels, boxes(draws, scale, pixels.shape[-1]), strict=True)
    ]
    return torch.stack(found)


def boxes(draws: Tensor, scale: float, side: int) -> list[tuple[int, int, int, int]]:
    """Return top, left, height and width in pixels of each image's crop, in an image of `side` pixels."""
    table = draws.numpy().astype(np.float64)
    area = 1 - (1 - scale) * table[:, AREA]
    # Less stretched where the crop would leave the image.
    limit = np.minimum(-np.log(area), math.log(CROP_ASPECT))
    stretch = np.exp((2 * table[:, ASPECT] - 1) * limit / 2)
    width = _in_pixels(np.sqrt(area) * stretch, side)
    height = _in_pixels(np.sqrt(area) / stretch, side)
    left = np.floor(table[:, X] * (side - width + 1)).astype(int)
    top = np.floor(table[:, Y] * (side - height + 1)).astype(int)
    return list(zip(top.tolist(), left.tolist(), height.tolist(), width.tolist(), strict=True))


def _in_pixels(share: np.ndarray, side: int) -> np.ndarray:
    return np.clip(np.rint(share * side), 1, side).astype(int)
