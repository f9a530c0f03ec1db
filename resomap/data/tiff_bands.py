"""TIFF of any number of channels, by tifffile: bands together, in planes, or a page each.

Size and kind are judged by the header, before a pixel is decoded. Compressed files are decoded by imagecodecs, which is
told how many bytes a strip may become.
"""

import importlib.util
import logging
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np

from resomap.data.bands import Bands, require_bounded
from resomap.data.damage import DamagedImage
from resomap.data.variants import tags_of

_MOST_PAGES = 64  # that are looked at: channels, and smaller copies of them
_REDUCED, _MASK = 1, 4  # bits of a page's kind: a smaller copy of another page, a mask
_BLACK_IS_ZERO, _RGB = 1, 2
# Those of which imagecodecs bounds what they become. A strip of JPEG says itself how large it is.
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "packbits", 34925: "LZMA", 50000: "Zstd"}
_ORIENTATION, _SAMPLES = 274, 277
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it would name no file; what matters is raised


@cache
def reads_bands() -> bool:
    """Return True if tifffile and imagecodecs are installed (`pip install tifffile imagecodecs`)."""
    return all(importlib.util.find_spec(name) is not None for name in ("tifffile", "imagecodecs"))


def channels_of(content: bytes) -> int:
    """Return the number of samples of the first page of a TIFF by its header; 0 where it cannot be read."""
    try:
        return int(tags_of(content).get(_SAMPLES, 1))
    except Exception:  # a damaged directory makes Pillow raise nearly anything
        return 0


def read_bands(content: bytes, bands: Bands) -> tuple[np.ndarray, int] | None:
    """Return the values [H, W, C] of a TIFF, upright, and the bits of each; None for colours that Pillow converts.

    Raises DamagedImage: no tifffile, several images, another number of channels, a compression or kind of numbers
    that is not read, more values than are read, damage.
    """
    if not reads_bands():
        raise DamagedImage("unsupported format", "TIFF by its bands, read after `pip install tifffile imagecodecs`")
    import tifffile

    try:
        with tifffile.TiffFile(BytesIO(content)) as file:
            return _values(_pages(file), bands, len(content))
    except (DamagedImage, MemoryError):
        raise
    except Exception as error:  # a damaged file makes tifffile and its decoders raise nearly anything
        words = " ".join(str(error).split()) or type(error).__name__
        raise DamagedImage("truncated or damaged", f"TIFF: {words[:200]}") from None


def _pages(file: Any) -> list[Any]:
    """Return the pages that are images of their own: no smaller copies, no masks."""
    pages: list[Any] = []
    for number in range(_MOST_PAGES + 1):
        try:
            page = file.pages[number]
        except IndexError:
            break
        if not int(getattr(page, "subfiletype", 0)) & (_REDUCED | _MASK):
            pages.append(page)
    else:
        raise DamagedImage("unsupported format", f"TIFF of more than {_MOST_PAGES} pages; save an image a file")
    if not pages:
        raise DamagedImage("truncated or damaged", "TIFF: it has no page of an image")
    return pages


def _values(pages: list[Any], bands: Bands, size: int) -> tuple[np.ndarray, int] | None:
    first = pages[0]
    if int(first.photometric) not in (_BLACK_IS_ZERO, _RGB):
        return None
    samples = {int(page.samplesperpixel) for page in pages}
    are_channels = len(pages) == bands.channels and samples == {1}
    if len(pages) > 1 and not are_channels:
        each = f"{min(samples)} channel{'s' if min(samples) > 1 else ''}" if len(samples) == 1 else "unlike channels"
        raise DamagedImage(
            "unsupported format",
            f"TIFF of {len(pages)} pages of {each}, where data.channels is {bands.channels}; save an image a file",
        )
    for page in pages:
        _refuse(page, size)
    if any((page.shape, page.dtype) != (first.shape, first.dtype) for page in pages):
        raise DamagedImage("unsupported format", "TIFF of pages of different sizes or depths; save an image a file")
    require_bounded((first.imagelength, first.imagewidth, first.samplesperpixel, len(pages)))
    bands.require(len(pages) if are_channels else samples.pop())
    found = np.concatenate([_by_rows(page) for page in pages], axis=2)
    return _upright(found, first), int(first.bitspersample)


def _refuse(page: Any, size: int) -> None:
    """Raise DamagedImage for a page that is not read, or not whole in a file of so many bytes."""
    method = int(page.compression)
    if method not in _COMPRESSIONS:
        name = getattr(page.compression, "name", method)
        raise DamagedImage("unsupported format", f"TIFF of bands compressed by {name}; save it with deflate or LZW")
    if page.dtype is None or page.dtype.kind not in "uif" or page.imagedepth != 1:
        raise DamagedImage("unsupported format", "TIFF of bands of no plain numbers; save 8, 16 bits or floats")
    if page.dtype.kind in "ui" and int(page.bitspersample) < 8:
        raise DamagedImage("unsupported format", f"TIFF of bands of {page.bitspersample} bits; save 8 or 16 bits")
    strips = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not strips or any(count < 1 or start + count > size for start, count in strips):
        raise DamagedImage("truncated or damaged", "TIFF: it ends before its pixels, or lacks some")


def _by_rows(page: Any) -> np.ndarray:
    """Decode a page: [H, W, samples]."""
    values = page.asarray(maxworkers=1).reshape(
        (page.samplesperpixel, page.imagelength, page.imagewidth)
        if page.axes.startswith("S")
        else (page.imagelength, page.imagewidth, page.samplesperpixel)
    )
    return np.moveaxis(values, 0, 2) if page.axes.startswith("S") else values


def _upright(values: np.ndarray, page: Any) -> np.ndarray:
    """Turn values [H, W, C] as the tag of the orientation says."""
    tag = page.tags.get(_ORIENTATION)
    way = int(tag.value) if tag is not None else 1
    if way in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if way in (3, 4, 7, 8):
        values = values[::-1]
    if way in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
