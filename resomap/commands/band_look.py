"""Look of `resomap init` at images of more channels than colours: how many they have, their size and their values."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np

from resomap.data.arrays import header_of, is_array
from resomap.data.bands import MOST_CHANNELS, Bands
from resomap.data.damage import DamagedImage
from resomap.data.decode import stored_numbers
from resomap.data.image_formats import TIFF, format_of
from resomap.data.location import loads
from resomap.data.source import Item
from resomap.data.tiff_bands import channels_of

COLOURS = 4  # channels up to which a TIFF may be a picture, with transparency or without
DARK = 1 / 8  # of the range of 16 bits: below, little of an image would be left in 8


@dataclass(frozen=True)
class BandLook:
    """Findings: the number of channels that most of the images have, their median short side, and their range."""

    channels: int
    short_side: int  # pixels
    value_range: tuple[float, float] | None  # of the values seen; None where the depth says it


def look_at_bands(items: Iterable[Item]) -> BandLook | None:
    """Look at images; None where they are grey or in colour, or cannot be read."""
    contents: list[tuple[bytes, int]] = []
    for item in items:
        with contextlib.suppress(DamagedImage):
            content = next(loads([item.location]))()
            if (channels := _channels(content)) is None and not contents:
                return None  # a picture, as all will be
            if channels is not None:
                contents.append((content, channels))
    if not contents:
        return None
    channels = Counter(number for _, number in contents).most_common(1)[0][0]
    sides: list[int] = []
    lows: list[float] = []
    highs: list[float] = []
    kinds: set[np.dtype] = set()
    for content, _ in contents:
        with contextlib.suppress(DamagedImage):
            values = stored_numbers(content, Bands(channels))
            if values is None or (values.dtype.kind == "f" and not np.isfinite(values).all()):
                continue
            sides.append(min(values.shape[:2]))
            lows.append(float(values.min()))
            highs.append(float(values.max()))
            kinds.add(values.dtype.newbyteorder("="))
    if not sides:
        return None
    return BandLook(channels, int(median(sides)), _range(kinds, min(lows), max(highs)))


def _channels(content: bytes) -> int | None:
    """Return the number of channels of an array, or of a TIFF of more than colours; None for pictures."""
    if is_array(content):
        shape = header_of(content)[0]
        number = 1 if len(shape) == 2 else shape[2] if shape[2] <= MOST_CHANNELS else shape[0]
        return number if number <= MOST_CHANNELS else None
    if format_of(content) != TIFF:
        return None
    number = channels_of(content)
    return number if COLOURS < number <= MOST_CHANNELS else None


def _range(kinds: set[np.dtype], low: float, high: float) -> tuple[float, float] | None:
    """Return the range to name; None where that of the depth, or 0 to 1 of floats, is the images' own."""
    if kinds <= {np.dtype(np.uint8)} or (low >= 0 and high <= 1 and all(kind.kind == "f" for kind in kinds)):
        return None
    if kinds <= {np.dtype(np.uint8), np.dtype(np.uint16)}:
        return (0.0, high) if 0 < high < DARK * 65535 else None
    return (low, high) if low < high else None
