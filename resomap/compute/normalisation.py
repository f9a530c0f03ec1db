"""Normalisation of stored pixels for a model: scaling to 0..1, mean and deviation, channels, memory layout."""

from dataclasses import dataclass

import torch
from torch import Tensor

from resomap.models.index import COLOURS


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation in 0..1: one value each for greyscale statistics, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = COLOURS  # that the network takes

    def __call__(self, images: Tensor) -> Tensor:
        """Normalise images [N, C, H, W] in 0..1 to [N, channels, H, W]; greyscale (C = 1) is repeated."""
        if images.shape[1] == 1 and len(self.mean) > 1:
            images = images.expand(-1, self.channels, -1, -1)
        mean = torch.tensor(self.mean, device=images.device, dtype=images.dtype).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device, dtype=images.dtype).view(1, -1, 1, 1)
        # A constant channel has no spread to divide by.
        images = (images - mean).div_(std.clamp(min=1e-3))
        return images.expand(-1, self.channels, -1, -1) if images.shape[1] == 1 else images


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """Copy stored pixels uint8 [N, H, W, C] to the device, as uint8 [N, C, H, W], channels last in memory."""
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)


def to_unit_range(pixels: Tensor) -> Tensor:
    """Scale pixels uint8 [N, C, H, W] to float32 in 0..1, in the same memory layout."""
    return pixels.float().div_(255)


def in_layout(images: Tensor, channels_last: bool) -> Tensor:
    """Return images in the memory layout that the model was put into."""
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
