"""Decode image files to uint8 pixels and resize them to a square."""

import importlib.util
import itertools
import logging
import re
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError, features
from PIL.TiffImagePlugin import TiffImageFile

from resomap.data.arrays import is_array, read_array
from resomap.data.bands import Bands, mode_of
from resomap.data.damage import DamagedImage
from resomap.data.dicom import decode_dicom
from resomap.data.image_formats import DICOM, HEIC, TIFF, ImageFormat, format_of, other_content
from resomap.data.location import InFile
from resomap.data.metadata import leaner_copies, upright
from resomap.data.pixels import FURTHER_FRAMES, WhiteLevel, stored_bits, to_uint8
from resomap.data.tiff import prepare
from resomap.data.tiff_bands import read_bands
from resomap.data.variants import unfit_variant, unread_variant

# For files that begin unlike all of their format.
READERS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it would name no file; what it says is raised too
_BANDS = re.compile(r"TIFF of ([2-9]|1[0-6]) bands of (8|16|32)-bit (whole numbers|floats)(, in separate planes)?$")
_FEATURES = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000"}  # a Pillow may be built without these


class Decoded(NamedTuple):
    """Pixels of an image file, and facts of how it stores them."""

    pixels: np.ndarray  # uint8 [H, W, C], C = 1 for a grey image and 3 for a coloured one, or that of `Bands`
    mode: str  # Pillow's name, or that of `mode_of`
    peak: int | None = None  # largest stored value, where the file does not tell how deep its values are
    correction: str = ""  # how they are read, where earlier versions read the same file to other pixels
    losses: tuple[str, ...] = ()  # what the file holds besides


def decode(path: Path, white_level: WhiteLevel = "each", bands: Bands | None = None) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H, W, C], C = 1 for a grey image and 3 for a coloured one.

    Raises DamagedImage as `decode_bytes` does, and where the file cannot be read.
    """
    return decode_bytes(InFile(path).read(), white_level, bands).pixels


def decode_bytes(content: bytes, white_level: WhiteLevel = "each", bands: Bands | None = None) -> Decoded:
    """Return the pixels of an image, upright by EXIF; the first frame of several; transparency over white.

    With `bands` they have the number of channels that these say: TIFF and `.npy` are read as arrays of numbers, alpha
    is a channel where it is counted as one, and an image with another number is refused.

    16 bits are scaled linearly to 8, so that 65535 becomes 255; `white_level` is the scale of files that do not tell
    theirs. Metadata that cannot be read are left aside. Raises DamagedImage: zero bytes, not an image, unsupported
    format (its name is said), truncated or damaged, too many pixels (Pillow's bound, 179 million), pixels that have no
    scale (floats, negative numbers).
    """
    if not content:
        raise DamagedImage("zero bytes", "the file is empty")
    if bands is None:
        return _decode_picture(content, white_level)
    found = _decode_array(content, bands) or _decode_picture(content, white_level, bands.channels)
    bands.require(found.pixels.shape[2])
    return found


def _decode_array(content: bytes, bands: Bands) -> Decoded | None:
    """Decode a `.npy` file or a TIFF as numbers; None for other formats, and colours that Pillow converts."""
    read = _read_numbers(content, bands)
    return None if read is None else Decoded(bands.to_uint8(*read), mode_of(read[0]))


def stored_numbers(content: bytes, bands: Bands) -> np.ndarray | None:
    """Return the numbers [H, W, C] as a `.npy` file or TIFF holds them; None for other formats.

    Raises DamagedImage as `decode_bytes` does, but for what has no scale.
    """
    read = _read_numbers(content, bands)
    return None if read is None else read[0]


def _read_numbers(content: bytes, bands: Bands) -> tuple[np.ndarray, int | None] | None:
    if is_array(content):
        return read_array(content, bands), None
    return read_bands(content, bands) if format_of(content) == TIFF else None


def _decode_picture(content: bytes, white_level: WhiteLevel, channels: int | None = None) -> Decoded:
    which = format_of(content)
    if which is not None:
        _refuse_unread(which)
    if which == DICOM:
        return Decoded(*decode_dicom(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is raised; the rest is about metadata
        return _first_readable(content, which, white_level, channels)


def resize(image: np.ndarray, size: int, fit: str) -> np.ndarray:
    """Resize pixels uint8 [H, W, C] to a square uint8 [size, size, C].

    `fit`: `center` scales the short side and crops the middle, `squash` scales both sides, `border` scales
    the long side and centres the image on black. Pillow's bicubic filter: it widens with the factor when
    scaling down (so no aliasing, unlike an unfiltered tensor resize), keeps thin lines better than bilinear,
    and is what most pretrained weights of timm were evaluated with.
    """
    height, width, channels = image.shape
    if channels not in (1, 3):
        return np.concatenate([resize(image[:, :, one : one + 1], size, fit) for one in range(channels)], axis=2)
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    if fit == "border":
        scale = size / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new(picture.mode, (size, size))
        square.paste(picture.resize(inner, Image.Resampling.BICUBIC), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    elif fit == "squash":
        square = picture.resize((size, size), Image.Resampling.BICUBIC)
    elif fit == "center":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        square = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    else:
        raise ValueError(f"fit is {fit!r}, and must be center, squash or border")
    return np.asarray(square).reshape(size, size, channels)


def _first_readable(
    content: bytes, which: ImageFormat | None, white_level: WhiteLevel, channels: int | None
) -> Decoded:
    """Decode the file, or where that fails the same file without the metadata that may stand in the way."""
    first: Exception | None = None
    for copy in itertools.chain([content], leaner_copies(content)):
        try:
            return _decode(copy, which, white_level, channels)
        except (DamagedImage, MemoryError):
            raise
        except Image.DecompressionBombError:
            raise DamagedImage("too many pixels", "more than 179 million; scale the image down") from None
        except Exception as error:  # damaged bytes make Pillow's readers raise nearly anything
            first = first or error
    assert first is not None
    raise _reason(content, which, first) from None


def _decode(content: bytes, which: ImageFormat | None, white_level: WhiteLevel, channels: int | None) -> Decoded:
    readers = (which.reader,) if which and which.reader else READERS
    with Image.open(BytesIO(content), formats=readers) as image:
        if which is not None and (variant := unfit_variant(content, which)):
            raise _unsupported(variant)
        if image.format == "PNG":  # reading pixels skips the checksums, and so flipped bits
            with Image.open(BytesIO(content), formats=readers) as twin:
                twin.verify()
        mended = prepare(image) if isinstance(image, TiffImageFile) else ""
        bits = stored_bits(image)
        image.load()
        if image.mode in ("LA", "RGBA") and len(image.getbands()) == channels:
            return Decoded(np.array(upright(image)), image.mode)
        found = to_uint8(upright(image), image, white_level, bits)
        losses = (*found.losses, *([FURTHER_FRAMES] if _has_further_frames(image) else []))
        correction = ", ".join(filter(None, (found.correction, mended)))
        return Decoded(found.values, image.mode, found.peak, correction, losses)


def _has_further_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame says nothing about the first
        return True


def _refuse_unread(which: ImageFormat) -> None:
    """Raise DamagedImage for a format that is not read, or not by the libraries that are installed."""
    if which.reader is None:
        raise _unsupported(which.name)
    if which == HEIC and not _opens_heic():
        raise DamagedImage("unsupported format", "HEIC, which is read after `pip install pillow-heif`")
    feature = _FEATURES.get(which.name)
    if feature is not None and not features.check(feature):
        raise DamagedImage("unsupported format", f"{which.name}, for which the installed Pillow was not built")


@cache
def _opens_heic() -> bool:
    """Register the reader of HEIC with Pillow; return False where the extra is not installed."""
    if importlib.util.find_spec("pillow_heif") is None:
        return False
    import pillow_heif

    pillow_heif.register_heif_opener()
    return True


def _reason(content: bytes, which: ImageFormat | None, error: Exception) -> DamagedImage:
    """Tell what is not supported from what is damaged, and both from what is no image."""
    if which is None:
        return DamagedImage("not an image", f"its content is {other_content(content)}")
    variant = unread_variant(content, which)
    if variant is not None:
        return _unsupported(variant)
    if isinstance(error, UnidentifiedImageError):
        return DamagedImage("truncated or damaged", f"the header of this {which.name} cannot be read")
    return DamagedImage("truncated or damaged", f"{which.name}: {' '.join(str(error).split()) or type(error).__name__}")


def _unsupported(name: str) -> DamagedImage:
    bands = _BANDS.match(name)
    way_out = f"data.channels: {bands[1]} reads them" if bands else "save the image as PNG or JPEG"
    return DamagedImage("unsupported format", f"{name}; {way_out}")
