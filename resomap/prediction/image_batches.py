"""Images decoded and scaled as the prepared store does it, in batches, by the pool of processes that prepares images.

Light: it is imported by the processes that decode.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes, resize
from resomap.data.location import Load, loads
from resomap.data.pixels import WhiteLevel
from resomap.data.pool import in_order
from resomap.prediction.image_list import Listed

# Fewer are decoded before another process has started.
WORTH_PROCESSES = 256
_AHEAD = 2  # batches for each process that may wait for the network


@dataclass(frozen=True)
class Form:
    """The form of the pixels that a network takes."""

    resolution: int
    channels: int
    fit: str
    white_level: WhiteLevel


@dataclass(frozen=True)
class ReadBatch:
    """Pixels uint8 [N, resolution, resolution, channels] of the images that could be read, and a reason or None each.

    There are as many reasons as images, and as many pixels as there are None among them.
    """

    pixels: np.ndarray
    errors: list[str | None]


def read_batches(form: Form, batches: Sequence[Sequence[Listed]], workers: int) -> Generator[ReadBatch]:
    """Yield the batches, read, in their order; by `workers` processes where there are enough images for it."""
    images = sum(map(len, batches))
    workers = workers if images >= WORTH_PROCESSES else 1
    return in_order(partial(read_batch, form), batches, workers, None, ahead=_AHEAD * workers)


def read_batch(form: Form, images: Sequence[Listed]) -> ReadBatch:
    """Decode and scale images; one that cannot be read has the reason in place of pixels."""
    pixels: list[np.ndarray] = []
    errors: list[str | None] = []
    for image in images:
        if image.location is None:
            errors.append(image.error)
            continue
        (load,) = loads([image.location])
        try:
            pixels.append(_square(form, load))
        except DamagedImage as damage:
            errors.append(str(damage))
        else:
            errors.append(None)
    shape = (0, form.resolution, form.resolution, form.channels)
    return ReadBatch(np.stack(pixels) if pixels else np.empty(shape, np.uint8), errors)


def _square(form: Form, load: Load) -> np.ndarray:
    pixels = decode_bytes(load(), form.white_level).pixels
    if pixels.shape[2] > form.channels:  # the network has seen grey images only
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    square = resize(pixels, form.resolution, form.fit)
    return np.broadcast_to(square, (form.resolution, form.resolution, form.channels))
