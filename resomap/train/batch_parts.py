"""Parts of a batch, one a forward pass: as many images as the microbatch says, and never one where that cannot train.

Batch normalisation over maps of a single pixel has no variance of a single image: torch refuses such a pass. So where
the last part of a batch would be one image, and the network refuses it, the batch is split evenly.
"""

import torch
from torch import Tensor, nn

# How torch says that a batch normalisation has one value a channel (torch.nn.functional.batch_norm).
_SINGLE_VALUE = "more than 1 value per channel"


def part_sizes(images: int, microbatch: int | None, least: int = 1) -> list[int]:
    """Return the sizes of a batch's parts, in images; `least`: the fewest that the network takes.

    5 images with a microbatch of 2 are 2, 2 and 1, and 3 and 2 for a network that takes no single image; where parts
    of at least `least` images and at most the microbatch do not make up the batch, they are a little larger.
    Raises ValueError where the batch or the microbatch is smaller than `least`.
    """
    size = min(microbatch or images, images)
    if size < least:
        raise ValueError(f"{size} of {images} images a forward pass, and the network takes at least {least}")
    rest = images % size
    if rest == 0 or rest >= least:
        return [size] * (images // size) + ([rest] if rest else [])
    count = -(-images // size)
    if images // count < least:
        count -= 1
    return [images // count + (number < images % count) for number in range(count)]


def takes_single_image(model: nn.Module, image: Tensor) -> bool:
    """Return True if the network, in training mode, takes one image [1, 3, H, W]; it stays as it is.

    Raises what else the forward pass raises.
    """
    buffers = {name: values.detach().clone() for name, values in model.named_buffers()}
    gpus = [image.device] if image.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus), torch.no_grad():
            model(image)
    except ValueError as error:
        if is_single_value(error):
            return False
        raise
    finally:
        with torch.no_grad():
            for name, values in model.named_buffers():
                values.copy_(buffers[name])
    return True


def is_single_value(error: BaseException) -> bool:
    """Return True if a forward pass failed because a batch normalisation has a single value a channel."""
    return isinstance(error, ValueError) and _SINGLE_VALUE in str(error)
