"""Decode image files to uint8 pixels and resize them to a square."""

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from resomap.core.errors import PermanentFailure

# Named, because Pillow would otherwise hand any file to all its readers, one of which starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


class DamagedImage(PermanentFailure):
    """An image file that gives no pixels, with the kind of damage and its detail."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})"


def decode(path: Path) -> np.ndarray:
    """Return the pixels of an image file, uint8 [H, W, C], C = 1 for a grey image and 3 for a coloured one.

    Raises DamagedImage as `decode_bytes` does, and where the file cannot be read.
    """
    return decode_bytes(read_bytes(path))[0]


def read_bytes(path: Path) -> bytes:
    """Return the file's content. Raises DamagedImage where it cannot be read, or is no ordinary file."""
    if path.exists() and not path.is_file():  # a named pipe would be waited for
        raise DamagedImage("not an image", "not an ordinary file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedImage("unreadable", error.strerror or str(error)) from None


def decode_bytes(content: bytes) -> tuple[np.ndarray, str]:
    """Return the pixels of an image (as `decode`) and Pillow's name of the mode they were stored in.

    Upright by EXIF; the first frame of several; transparency over white; 16 bits scaled linearly to 8, so
    that 65535 becomes 255. Raises DamagedImage: zero bytes, not an image, truncated or damaged, too many
    pixels (Pillow's bound, 179 million), pixels that have no scale (floats, negative numbers).
    """
    if not content:
        raise DamagedImage("zero bytes", "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is raised; the rest is about metadata
            return _decode(content)
    except (DamagedImage, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise DamagedImage("too many pixels", "more than 179 million; scale the image down") from None
    except UnidentifiedImageError:
        if content.startswith(_MAGIC):
            raise DamagedImage("truncated or damaged", "its header cannot be read") from None
        raise DamagedImage("not an image", "its content is in no known format") from None
    except Exception as error:  # damaged bytes make Pillow's readers raise nearly anything
        raise DamagedImage("truncated or damaged", str(error) or type(error).__name__) from None


def resize(image: np.ndarray, size: int, fit: str) -> np.ndarray:
    """Resize pixels uint8 [H, W, C] to a square uint8 [size, size, C].

    `fit`: `center` scales the short side and crops the middle, `squash` scales both sides, `border` scales
    the long side and centres the image on black. Pillow's bicubic filter: it widens with the factor when
    scaling down (so no aliasing, unlike an unfiltered tensor resize), keeps thin lines better than bilinear,
    and is what most pretrained weights of timm were evaluated with.
    """
    height, width = image.shape[:2]
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
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
    return np.asarray(square).reshape(size, size, image.shape[2])


def _decode(content: bytes) -> tuple[np.ndarray, str]:
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        if image.format == "PNG":  # reading pixels skips the checksums, and so flipped bits
            with Image.open(BytesIO(content), formats=FORMATS) as twin:
                twin.verify()
        image.load()
        mode = image.mode
        depth = _Depth.of(image)
        upright = _upright(image)
    return _to_uint8(upright, depth), mode


def _upright(image: Image.Image) -> Image.Image:
    try:
        image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image  # a damaged EXIF block says nothing about the pixels
    return ImageOps.exif_transpose(image)


class _Depth:
    """Scale of grey values of more than 8 bits, which only the file's header tells."""

    def __init__(self, maximum: int = 65535, white_is_zero: bool = False) -> None:
        self.maximum = maximum
        self.white_is_zero = white_is_zero

    @classmethod
    def of(cls, image: Image.Image) -> "_Depth":
        """Read the scale from a TIFF's header: it may hold 12 bits, or count from white; Pillow leaves both alone."""
        tags = getattr(image, "tag_v2", None)
        if tags is None or not image.mode.startswith("I;16"):
            return cls()
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        return cls((1 << bits) - 1, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _to_uint8(image: Image.Image, depth: _Depth) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16"):
        pixels = _scaled(np.asarray(image), depth.maximum)
        return (255 - pixels if depth.white_is_zero else pixels)[:, :, None]
    if mode in ("I", "F"):
        return _from_32_bits(np.asarray(image))[:, :, None]
    grey = mode in ("1", "L", "LA", "La")
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        pixels = _over_white(np.asarray(image.convert("RGBA")))
    elif grey:
        return np.array(image.convert("L"))[:, :, None]
    else:
        try:
            pixels = np.array(image.convert("RGB"))
        except ValueError:
            raise DamagedImage("unsupported pixels", f"mode {mode}; save the image as RGB or grey") from None
    if mode in ("P", "PA"):  # a palette of greys is how GIF and BMP store grey images
        grey = bool((pixels[:, :, :1] == pixels).all())
    return pixels[:, :, :1] if grey else pixels


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """Composite pixels over white, rounded to the nearest: uint8 [H, W, 4] -> [H, W, 3]."""
    alpha = rgba[:, :, 3:].astype(np.uint32)
    mixed = rgba[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _scaled(values: np.ndarray, maximum: int) -> np.ndarray:
    return ((values.astype(np.uint32) * 255 + maximum // 2) // maximum).astype(np.uint8)


def _from_32_bits(values: np.ndarray) -> np.ndarray:
    """Return 32-bit values as uint8; raise DamagedImage where they are not whole numbers of an 8- or 16-bit range.

    32-bit numbers have no agreed white, so whole numbers of such a range are taken as 8 or 16 bits.
    """
    whole = np.isfinite(values).all() and (values == np.floor(values)).all()
    if not whole or values.min() < 0 or values.max() > 65535:
        raise DamagedImage(
            "unsupported pixels",
            "32-bit values outside 0 to 65535 or not whole; save the image with 8 or 16 bits",
        )
    return values.astype(np.uint8) if values.max() <= 255 else _scaled(values, 65535)
