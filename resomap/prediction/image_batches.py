"""Images decoded and scaled as the prepared store does it, in batches, by the pool of processes that prepares images.

Light: it is imported by the processes that decode.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, repeat

import numpy as np
from PIL import Image

from resomap.data.bands import Bands
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes, resize
from resomap.data.location import InParquet, Load, Location, loads
from resomap.data.pixels import WhiteLevel
from resomap.data.pool import in_order

# Fewer are decoded before another process has started.
WORTH_PROCESSES = 256
_AHEAD = 2  # batches for each process that may wait for the network


@dataclass(frozen=True, slots=True)
class Listed:
    """One image, and where its bytes are; or what stands in place of images, and the reason why there are none."""

    name: str
    location: Location | None
    error: str | None = None


@dataclass(frozen=True)
class Form:
    """The form of the pixels that a network takes."""

    resolution: int
    channels: int
    fit: str
    white_level: WhiteLevel
    bands: Bands | None = None


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
    for image, load in _with_loads(images):
        error = image.error
        if load is not None:
            try:
                pixels.append(_square(form, load))
            except DamagedImage as damage:
                error = str(damage)
        errors.append(error)
    shape = (0, form.resolution, form.resolution, form.channels)
    return ReadBatch(np.stack(pixels) if pixels else np.empty(shape, np.uint8), errors)


def _with_loads(images: Sequence[Listed]) -> Iterator[tuple[Listed, Load | None]]:
    """Yield each image with what reads its bytes, None where there are none; a row group of Parquet is read once."""
    for _, together in groupby(images, key=_read_together):
        group = list(together)
        locations = [image.location for image in group if image.location is not None]
        yield from zip(group, loads(locations) if locations else repeat(None, len(group)), strict=True)


def _read_together(image: Listed) -> object:
    where = image.location
    return (where.file, where.row_group) if isinstance(where, InParquet) else id(image)


def _square(form: Form, load: Load) -> np.ndarray:
    pixels = decode_bytes(load(), form.white_level, form.bands).pixels
    if pixels.shape[2] > form.channels:  # the network has seen grey images only
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    square = resize(pixels, form.resolution, form.fit)
    return np.broadcast_to(square, (form.resolution, form.resolution, form.channels))
