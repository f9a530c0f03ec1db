"""NumPy arrays (`.npy`) as images: the header is read and judged before a value is, and no pickle is ever opened."""

import math
from io import BytesIO
from typing import Any

import numpy as np
from numpy.lib import format as npy

from resomap.data.bands import AXES, Bands, require_bounded
from resomap.data.damage import DamagedImage

SUFFIX = ".npy"
_LONGEST_HEADER = 10_000  # bytes, as numpy has it: Python's parser is slow with long ones
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(content: bytes, bands: Bands) -> np.ndarray:
    """Return the values [H, W, C] of a `.npy` file, whichever of its axes the channels are on.

    Raises DamagedImage as `header_of` does, and: another number of channels, fewer bytes than the header says.
    """
    shape, is_fortran, kind, start = header_of(content)
    axis, count = bands.axis(shape), math.prod(shape)
    if len(content) - start < count * kind.itemsize:
        raise DamagedImage("truncated or damaged", "NumPy array: it ends before its values do")
    values = np.frombuffer(content, dtype=kind, count=count, offset=start)
    values = values.reshape(shape, order="F" if is_fortran else "C")
    return values[:, :, None] if axis is None else np.moveaxis(values, axis, 2)


def header_of(content: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether the first axis is the fastest, kind of numbers, and bytes of the header of a `.npy` file.

    Raises DamagedImage: a header that cannot be read, Python objects or other things that are no numbers, an array of
    no image, or of more values than are read.
    """
    stream = BytesIO(content)
    try:
        version = npy.read_magic(stream)
        if version == (3, 0):
            raise _unread("named fields")
        shape, is_fortran, kind = _READERS[version](stream, max_header_size=_LONGEST_HEADER)
    except DamagedImage:
        raise
    except Exception as error:  # a damaged header makes numpy raise several kinds
        words = " ".join(str(error).split()) or type(error).__name__
        raise DamagedImage("truncated or damaged", f"NumPy array: {words[:200]}") from None
    if kind.hasobject:
        raise _unread("Python objects, which could run code")
    if kind.kind not in "uif":
        raise _unread("named fields" if kind.names else f"the kind {kind}")
    require_bounded(shape)
    if len(shape) not in AXES:
        raise DamagedImage("unsupported pixels", f"an array of {len(shape)} dimensions; save an image a file")
    return shape, is_fortran, kind, stream.tell()


def is_array(content: bytes) -> bool:
    """Return True for the content of a `.npy` file."""
    return content.startswith(npy.MAGIC_PREFIX)


def _unread(what: str) -> DamagedImage:
    return DamagedImage("unsupported format", f"a NumPy array of {what}; save 8, 16 bits or floats")
