"""TIFF files that Pillow by itself would read to other pixels than they hold."""

import sys

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

_BITS_PER_SAMPLE, _PLANAR, _EXTRA_SAMPLES = 258, 284, 338
_SEPARATE, _ASSOCIATED = 2, 1


def prepare(image: TiffImageFile) -> str:
    """Have libtiff read an opened image whose bands of 16 bits lie in planes, one behind the other.

    Pillow's own reader, which is for uncompressed files, takes them for 8 bits. Return what is put right, here and in
    `stored_values`, or an empty string.
    """
    tags = image.tag_v2
    if is_turned_twice(image):
        return "byte order"
    if tags.get(_PLANAR) != _SEPARATE or image.use_load_libtiff or tags.get(_BITS_PER_SAMPLE, (1,))[0] != 16:
        return ""
    if image.mode not in ("RGB", "RGBA", "CMYK"):
        return ""
    bands = "RGBa" if image.mode == "RGBA" and tags.get(_EXTRA_SAMPLES, (0,))[0] == _ASSOCIATED else image.mode
    image.tile = [ImageFile._Tile("libtiff", (0, 0, tags[256], tags[257]), 0, (f"{bands};16N", False, tags.offset))]
    image.use_load_libtiff = True
    return "planes of 16 bits"


def stored_values(image: Image.Image, opened: Image.Image) -> np.ndarray:
    """Return the values of an image of mode I or F in this machine's byte order.

    libtiff turns the bytes of a compressed file, and Pillow turns those of signed and 32-bit values once more.
    """
    values = np.asarray(image)
    if not isinstance(opened, TiffImageFile) or not is_turned_twice(opened):
        return values
    if opened.tag_v2[_BITS_PER_SAMPLE][0] == 16:
        return values.astype(np.int16).byteswap().astype(np.int32)
    return values.byteswap()


def is_turned_twice(image: TiffImageFile) -> bool:
    """Return True for a compressed file of signed or 32-bit values in the other byte order than this machine's."""
    other = b"MM" if sys.byteorder == "little" else b"II"
    return image.mode in ("I", "F") and image.use_load_libtiff and image.tag_v2.prefix == other
