"""Pixels of an opened image as uint8, whatever mode they were stored in, and what is lost on the way."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFile

from resomap.data.damage import DamagedImage
from resomap.data.tiff import stored_values

# The value that becomes 255 in grey images of 32-bit values, or signed 16-bit ones, whose files do not tell how deep
# the values are. 255 or 65535: one for all images of a set; None: no image of the set was of that kind; "each": by each
# image's own values, as versions of ResoMap before this one did.
WhiteLevel = Literal[255, 65535, "each"] | None

ALL_TRANSPARENT = "Transparent everywhere, and so all white"
PARTLY_TRANSPARENT = "Transparent in part: what lies under the transparency is white"
FURTHER_FRAMES = "More than one page or frame: only the first is used"
FURTHER_BANDS = "More bands than the colours: the further ones are not used"

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 258, 262, 277, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2


@dataclass(frozen=True)
class Pixels:
    """Pixels of an image, uint8 [H, W, C], C = 1 for a grey image and 3 for a coloured one."""

    values: np.ndarray
    peak: int | None = None  # largest stored value, where the file does not tell how deep its values are
    correction: str = ""  # how they are read, where earlier versions read the same file to other pixels
    losses: tuple[str, ...] = ()  # what the file holds besides


def stored_bits(image: ImageFile.ImageFile) -> int:
    """Return the bits of a grey value in an opened image of 2, 4 or 8 bits, before its pixels are loaded."""
    raw = str(image.tile[0].args) if image.mode == "L" and image.tile else ""
    return 2 if "L;2" in raw else 4 if "L;4" in raw else 8


def to_uint8(image: Image.Image, opened: Image.Image, white_level: WhiteLevel, bits: int = 8) -> Pixels:
    """Convert an upright image; `opened` is the same as it was opened, with the header if it is a TIFF's.

    `bits` are its `stored_bits`. Transparency goes over white; 16 bits are scaled linearly, so that 65535 becomes 255.
    Raises DamagedImage where the values have no such scale.
    """
    mode = image.mode
    tags = getattr(opened, "tag_v2", {})
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED and mode == "L" and np.asarray(image).max(initial=0) > 127:
        raise DamagedImage("unsupported pixels", "TIFF of signed 8 bits with negative values; save it unsigned")
    if mode.startswith("I;16"):
        return _from_16_bits(image, tags)
    if mode in ("I", "F"):
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            raise DamagedImage("unsupported pixels", "TIFF of 32 bits that counts from white; save it with 16 bits")
        return _from_32_bits(stored_values(image, opened), opened.format in ("PPM", "PNG") and mode == "I", white_level)
    correction = _scale_transparent_grey(image, bits)
    grey = mode in ("1", "L", "LA", "La")
    losses = _bands(image, tags)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = _rgba(image)
        losses += _transparency(rgba[:, :, 3])
        values = _over_white(rgba)
    elif grey:
        return Pixels(np.array(image.convert("L"))[:, :, None], losses=losses)
    else:
        try:
            values = np.array(image.convert("RGB"))
        except ValueError:
            raise DamagedImage("unsupported pixels", f"mode {mode}; save the image as RGB or grey") from None
    if mode in ("P", "PA"):  # a palette of greys is how GIF and BMP store grey images
        grey = bool((values[:, :, :1] == values).all())
    return Pixels(values[:, :, :1] if grey else values, correction=correction, losses=losses)


def _scale_transparent_grey(image: Image.Image, bits: int) -> str:
    """Scale the transparent value of a PNG of few bits as its pixels were; return a word if a pixel has that value."""
    value = image.info.get("transparency")
    if bits == 8 or not isinstance(value, int) or value == 0:
        return ""
    image.info["transparency"] = value * 255 // ((1 << bits) - 1)
    return f"transparent {bits} bits" if (np.asarray(image) == image.info["transparency"]).any() else ""


def _from_16_bits(image: Image.Image, tags: dict[int, tuple[int, ...]]) -> Pixels:
    """Read the scale from a TIFF's header: it may hold 12 bits, or count from white; Pillow leaves both alone."""
    stored = np.asarray(image)
    values = _scaled(stored, (1 << tags.get(_BITS_PER_SAMPLE, (16,))[0]) - 1)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 255 - values
    transparent = stored == image.info.get("transparency", -1)  # the one grey value that a PNG may name
    if not transparent.any():
        return Pixels(values[:, :, None])
    values[transparent] = 255
    losses = (ALL_TRANSPARENT if transparent.all() else PARTLY_TRANSPARENT,)
    return Pixels(values[:, :, None], correction="transparent 16 bits", losses=losses)


def _from_32_bits(values: np.ndarray, is_stated: bool, white_level: WhiteLevel) -> Pixels:
    """Scale 32-bit values, which must be whole numbers of an 8- or 16-bit range: others have no agreed white.

    `is_stated`: the file's header told the depth, and its reader has scaled the values to 16 bits.
    """
    whole = np.isfinite(values).all() and (values == np.floor(values)).all()
    if not whole or values.min() < 0 or values.max() > 65535:
        raise DamagedImage(
            "unsupported pixels",
            "32-bit values outside 0 to 65535 or not whole; save the image with 8 or 16 bits",
        )
    peak = int(values.max())
    own: Literal[255, 65535] = 255 if peak <= 255 else 65535
    level: Literal[255, 65535]
    if is_stated:
        level = 65535
    elif white_level is None and own == 255:
        raise DamagedImage(
            "unknown depth",
            "the file does not tell 8 from 16 bits, and no image of the training was of that kind; save it with 8 "
            "or 16 bits",
        )
    elif white_level == 255 and own == 65535:
        raise DamagedImage(
            "unsupported pixels", "values above 255, where those of the training's images end; save it with 8 bits"
        )
    else:
        level = own if white_level is None or white_level == "each" else white_level
    pixels = values.astype(np.uint8) if level == 255 else _scaled(values, 65535)
    correction = "" if level == own else f"white level {level}"
    return Pixels(pixels[:, :, None], None if is_stated else peak, correction)


def _rgba(image: Image.Image) -> np.ndarray:
    if image.mode == "La":  # Pillow takes apart what is multiplied by alpha only in colour
        grey, alpha = image.getchannel(0), image.getchannel(1)
        image = Image.merge("RGBa", (grey, grey, grey, alpha))
    return np.asarray(image.convert("RGBA"))


def _bands(image: Image.Image, tags: dict[int, int]) -> tuple[str, ...]:
    return (FURTHER_BANDS,) if tags.get(_SAMPLES_PER_PIXEL, 1) > len(image.getbands()) else ()


def _transparency(alpha: np.ndarray) -> tuple[str, ...]:
    if alpha.min() == 255:
        return ()
    return (PARTLY_TRANSPARENT if alpha.any() else ALL_TRANSPARENT,)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """Composite pixels over white, rounded to the nearest: uint8 [H, W, 4] -> [H, W, 3]."""
    alpha = rgba[:, :, 3:].astype(np.uint32)
    mixed = rgba[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _scaled(values: np.ndarray, maximum: int) -> np.ndarray:
    return ((values.astype(np.uint32) * 255 + maximum // 2) // maximum).astype(np.uint8)
