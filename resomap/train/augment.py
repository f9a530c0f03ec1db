"""Random changes of a batch of training images, on the device, each image with its own draws.

A draw table row holds COLUMNS numbers in [0, 1) for one image (see draws.py), so what happens to an image in an
epoch depends on nothing else: not on the batch, not on workers, not on an interruption.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resomap.config.schema import Augment

# One column for each decision; switching one change on or off leaves the draws of the others as they were.
(
    HFLIP,
    VFLIP,
    TURN,
    AREA,
    ASPECT,
    X,
    Y,
    ANGLE,
    BRIGHTNESS,
    CONTRAST,
    ERASE,
    ERASE_AREA,
    ERASE_ASPECT,
    ERASE_X,
    ERASE_Y,
) = range(15)
COLUMNS = 15


def flip(pixels: Tensor, draws: Tensor, settings: Augment) -> Tensor:
    """Flip and turn (by quarters) pixels uint8 [N, C, H, W] by draws [N, COLUMNS].

    Nothing is interpolated, so that this comes first, while a pixel is a byte.
    """
    if settings.hflip > 0:
        pixels = _where(draws[:, HFLIP] < settings.hflip, lambda chosen: chosen.flip(3), pixels)
    if settings.vflip > 0:
        pixels = _where(draws[:, VFLIP] < settings.vflip, lambda chosen: chosen.flip(2), pixels)
    if settings.rotate90:
        turns = (draws[:, TURN] * 4).long()
        pixels = _where(turns % 2 == 1, lambda chosen: chosen.rot90(1, (2, 3)), pixels)
        pixels = _where(turns >= 2, lambda chosen: chosen.flip(2, 3), pixels)
    return pixels


def augment(images: Tensor, draws: Tensor, settings: Augment) -> Tensor:
    """Change images [N, C, H, W] in 0..1 by draws [N, COLUMNS]; same shape, float32."""
    if settings.degrees > 0:
        images = _rotate(images, draws, settings.degrees)
    if settings.contrast > 0:
        factor = 1 + settings.contrast * (2 * draws[:, CONTRAST] - 1)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = mean + (images - mean) * factor.view(-1, 1, 1, 1)
    if settings.brightness > 0:
        factor = 1 + settings.brightness * (2 * draws[:, BRIGHTNESS] - 1)
        images = images * factor.view(-1, 1, 1, 1)
    if settings.contrast > 0 or settings.brightness > 0:
        images = images.clamp(0, 1)
    if settings.erase > 0:
        images = _erase(images, draws, settings.erase)
    return images


def mix(images: Tensor, labels: Tensor, classes: int, alpha: float, share: float) -> tuple[Tensor, Tensor]:
    """Mix each image with its mirror partner in the batch (mixup, Zhang et al. 2018).

    `share` is the batch's draw from Beta(alpha, alpha), in 0..1. Returns images [N, C, H, W] and targets [N, classes].
    """
    targets = F.one_hot(labels, classes).to(images.dtype)
    if alpha == 0:
        return images, targets
    return share * images + (1 - share) * images.flip(0), share * targets + (1 - share) * targets.flip(0)


@dataclass(frozen=True)
class Cut:
    """Rectangle of CutMix for a batch, in shares of the image: its centre, and how much area outside it is kept."""

    kept: float
    x: float
    y: float

    def box(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Return the pixels top, bottom, left and right of the rectangle, cut off at the border."""
        half = math.sqrt(1 - self.kept) / 2
        left, right = (round(min(1.0, max(0.0, self.x + side * half)) * columns) for side in (-1, 1))
        top, bottom = (round(min(1.0, max(0.0, self.y + side * half)) * rows) for side in (-1, 1))
        return top, bottom, left, right

    def share(self, rows: int, columns: int) -> float:
        """Return the share of an image's area that stays its own."""
        top, bottom, left, right = self.box(rows, columns)
        return 1 - (right - left) * (bottom - top) / (rows * columns)


def cut_mix(images: Tensor, labels: Tensor, classes: int, cut: Cut) -> tuple[Tensor, Tensor]:
    """Put a rectangle of each image's mirror partner in the batch into it (CutMix, Yun et al. 2019).

    Targets are mixed by the area that is replaced: at the border the rectangle is cut off. Returns images [N, C, H, W]
    and targets [N, classes].
    """
    rows, columns = images.shape[2:]
    top, bottom, left, right = cut.box(rows, columns)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
    share = cut.share(rows, columns)
    targets = F.one_hot(labels, classes).to(images.dtype)
    return mixed, share * targets + (1 - share) * targets.flip(0)


def _rotate(images: Tensor, draws: Tensor, degrees: float) -> Tensor:
    """Rotate by up to so many degrees to either side; what comes in from outside is the image's reflection."""
    angle = math.radians(degrees) * (2 * draws[:, ANGLE] - 1)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turns = torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
    grid = F.affine_grid(turns, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _erase(images: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Set a random rectangle of 2 to 20 % of the area to the image's mean (random erasing, Zhong et al. 2020)."""
    _, _, rows, columns = images.shape
    area = 0.02 + 0.18 * draws[:, ERASE_AREA]
    stretch = ((2 * draws[:, ERASE_ASPECT] - 1) * math.log(2) / 2).exp()
    width, height = area.sqrt() * stretch, area.sqrt() / stretch
    left, top = draws[:, ERASE_X] * (1 - width), draws[:, ERASE_Y] * (1 - height)
    x = (torch.arange(columns, device=images.device) + 0.5) / columns
    y = (torch.arange(rows, device=images.device) + 0.5) / rows
    inside_x = (x >= left[:, None]) & (x < (left + width)[:, None])
    inside_y = (y >= top[:, None]) & (y < (top + height)[:, None])
    hit = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    hit = hit & (draws[:, ERASE] < probability).view(-1, 1, 1, 1)
    return torch.where(hit, images.mean(dim=(2, 3), keepdim=True), images)


def _where(which: Tensor, change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Change the images [N, ...] that the mask `which`, bool [N], selects; returns all of them."""
    if images.device.type != "cpu":
        return torch.where(which.view(-1, 1, 1, 1), change(images), images)  # does not wait for the device
    changed = images.clone()  # a processor does not make what is thrown away
    for row in which.nonzero().flatten().tolist():
        changed[row : row + 1] = change(images[row : row + 1])
    return changed
