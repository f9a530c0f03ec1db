"""Random changes that torchvision makes, each image with seeds of its own: policies of operations, colour, blur.

A transform of torchvision draws from torch's generator on the CPU. It is seeded for each image and each kind of change,
so that what happens to an image in an epoch depends on nothing else, and switching one change leaves the others alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from resomap.config.schema import Augment

KINDS = 3  # of seeds for each image: policy, colour, blur
_SIGMA = (0.1, 2.0)  # pixels, as in SimCLR (Chen et al. 2020)


def change_each(pixels: Tensor, seeds: Tensor, settings: Augment) -> Tensor:
    """Change pixels uint8 [N, C, H, W] on their device by seeds int64 [N, KINDS] on the CPU; same shape and type."""
    wanted = transforms(settings, pixels.shape[-1])
    if not wanted:
        return pixels
    changed = []
    with torch.random.fork_rng(devices=[]):
        for image, own in zip(pixels, seeds.tolist(), strict=True):
            for kind, transform in wanted.items():
                torch.default_generator.manual_seed(own[kind])
                image = transform(image)
            changed.append(image)
    return torch.stack(changed)


def transforms(settings: Augment, size: int) -> dict[int, Callable[[Tensor], Tensor]]:
    """Return the transforms that the settings ask for, by kind, for images of so many pixels a side."""
    found: dict[int, Callable[[Tensor], Tensor]] = {}
    if settings.policy == "trivialaugment":
        found[0] = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    elif settings.policy == "randaugment":
        found[0] = v2.RandAugment(settings.operations, settings.magnitude, interpolation=v2.InterpolationMode.BILINEAR)
    if settings.saturation or settings.hue:
        found[1] = v2.ColorJitter(saturation=settings.saturation, hue=settings.hue)
    if settings.blur:
        # Wide enough for three standard deviations, and no wider than reflection at the border allows.
        width = min(13, size - 1 if size % 2 == 0 else size - 2)
        found[2] = v2.RandomApply([v2.GaussianBlur(width, _SIGMA)], p=settings.blur)
    return found
