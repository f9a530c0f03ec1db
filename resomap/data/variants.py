"""Variants of a readable format that are not read, by name: a lossless JPEG, a TIFF of floats in 64 bits."""

import struct
from io import BytesIO
from typing import Any

from PIL import Image, TiffImagePlugin

from resomap.data.image_formats import ImageFormat

_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR, _SAMPLE_FORMAT = 258, 259, 262, 277, 284, 339
_SUBFILE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
_PHOTOMETRICS = {
    0: "counting from white",
    4: "a mask",
    5: "ink separations",
    8: "CIELab colours",
    9: "ICCLab colours",
    10: "ITULab colours",
    32803: "a camera's colour filter array",
    32844: "LogL values",
    32845: "LogLuv colours",
    34892: "linear raw values",
}
_LAB = (8, 9, 10)  # to be converted by a profile, which is not done here
_COMPRESSIONS = {
    6: "old-style JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_SAMPLE_FORMATS = {2: "signed whole numbers", 3: "floats", 5: "complex whole numbers", 6: "complex floats"}
_LOSSLESS = "lossless JPEG"
_FRAMES = {0xC3: _LOSSLESS, 0xCB: _LOSSLESS, 0xC7: _LOSSLESS, 0xCF: _LOSSLESS, 0xF7: "JPEG-LS"} | dict.fromkeys(
    (0xC5, 0xC6, 0xCD, 0xCE), "hierarchical JPEG"
)


def unread_variant(content: bytes, which: ImageFormat) -> str | None:
    """Return the name of the variant of the format that a file is of, where it is one that is not read; else None.

    Asked after a file could not be read, to tell what is not supported from what is damaged.
    """
    look = {"JPEG": _jpeg, "TIFF": _tiff, "BMP": _bmp, "JPEG 2000": _jpeg_2000}.get(which.name)
    try:
        return look(content) if look else None
    except (struct.error, IndexError):  # cut off
        return None


def unfit_variant(content: bytes, which: ImageFormat) -> str | None:
    """Return the name of a variant that Pillow opens but reads to other pixels than its own; None for all others."""
    try:
        if which.name == "JPEG 2000":
            return _unfit_jpeg_2000(content)
        if which.name == "TIFF":
            return _unfit_tiff(tags_of(content), content)
    except Exception:  # a damaged header, of which reading the pixels will tell
        pass
    return None


def _jpeg(content: bytes) -> str | None:
    at = 2
    while True:
        marker = content[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        length = struct.unpack_from(">H", content, at + 2)[0]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            break
        at += 2 + length
    bits, components = content[at + 4], content[at + 9]
    if marker in _FRAMES:
        return _FRAMES[marker]
    if bits != 8:
        return f"JPEG of {bits} bits a sample"
    return None if components in (1, 3, 4) else f"JPEG of {components} components"


def _bmp(content: bytes) -> str | None:
    if struct.unpack_from("<I", content, 14)[0] < 40:
        return None
    bits, method = struct.unpack_from("<HI", content, 28)
    if method not in (0, 1, 2, 3, 6):
        return f"BMP of compression {method}"
    return None if bits in (1, 4, 8, 16, 24, 32) else f"BMP of {bits} bits a pixel"


def _components(content: bytes) -> list[int]:
    """Return the bits of each component of a JPEG 2000."""
    at = content.index(b"\xff\x4f\xff\x51") + 4
    number = struct.unpack_from(">H", content, at + 36)[0]
    return [(content[at + 38 + 3 * component] & 0x7F) + 1 for component in range(number)]


def _jpeg_2000(content: bytes) -> str | None:
    try:
        depths = _components(content)
    except ValueError:
        return None
    if len(depths) > 4:
        return f"JPEG 2000 of {len(depths)} components"
    return f"JPEG 2000 of {max(depths)} bits a sample" if max(depths) > 16 else None


def _unfit_jpeg_2000(content: bytes) -> str | None:
    """Below 8 bits Pillow fills up with zeros, so that white is not white; above, in colour, white turns to black."""
    depths = _components(content)
    unfit = [depth for depth in depths if depth < 8 or (depth > 8 and len(depths) > 1)]
    return f"JPEG 2000 of {unfit[0]} bits a sample{' in colour' if len(depths) > 1 else ''}" if unfit else None


def _unfit_tiff(tags: Any, content: bytes) -> str | None:
    """A camera's raw file is a TIFF whose first page is a thumbnail; of grey and alpha in planes Pillow reads one."""
    is_thumbnail = bool(tags.get(_SUBFILE, 0) & 1) and _SUB_DIRECTORIES in tags
    if content[8:10] == b"CR" or _DNG_VERSION in tags or is_thumbnail:
        return "camera raw"
    in_planes = tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) > 1
    if tags.get(_PHOTOMETRIC) in _LAB or (in_planes and tags.get(_PHOTOMETRIC) not in (2, 5, 6)):
        return _describe_tiff(tags)
    return None


def tags_of(content: bytes) -> Any:
    """Return the tags of the first page of a TIFF. Raises whatever Pillow raises for a damaged one."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(content[:16] if content[2:4] in (b"+\0", b"\0+") else content[:8])
    stream = BytesIO(content)
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _tiff(content: bytes) -> str | None:
    if content[:4] == b"MM\0+":
        return "BigTIFF, big-endian"
    try:
        tags = tags_of(content)
        size = [tags[tag] for tag in (256, 257)]
        if not all(isinstance(side, int) and side > 0 for side in size) or not {273, 324} & set(tags):
            return None
        description = _describe_tiff(tags)
        method = tags.get(_COMPRESSION, 1)
    except Exception:  # a damaged directory makes Pillow raise nearly anything
        return None
    name = TiffImagePlugin.COMPRESSION_INFO.get(method)
    if name is None or not _has_codec(name):
        return f"TIFF compressed by {_COMPRESSIONS.get(method) or name or f'method {method}'}"
    try:
        TiffImagePlugin.TiffImageFile(BytesIO(content)).load()
    except (SyntaxError, ValueError):  # no such pixels; its directory is whole, so this is no damage
        return description
    except Exception:
        pass
    return None


def _describe_tiff(tags: Any) -> str:
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, len(bits))
    kind = _SAMPLE_FORMATS.get((tags.get(_SAMPLE_FORMAT) or (1,))[0], "whole numbers")
    widths = " and ".join(str(width) for width in sorted(set(bits)))
    words = [f"TIFF of {f'{samples} bands' if samples > 1 else 'one band'} of {widths}-bit {kind}"]
    words += [_PHOTOMETRICS[tags[_PHOTOMETRIC]]] if tags.get(_PHOTOMETRIC) in _PHOTOMETRICS else []
    words += ["in separate planes"] if tags.get(_PLANAR) == 2 and samples > 1 else []
    words += ["big-endian"] if tags.prefix == b"MM" else []
    return ", ".join(words)


def _has_codec(name: str) -> bool:
    """Return True if this Pillow's libtiff has the codec: where it can write a small image, it can read one."""
    if name in ("tiff_jpeg", "tiff_thunderscan", "tiff_sgilog", "tiff_sgilog24"):  # no writer, and no reader built in
        return False
    mode = "1" if name in ("tiff_ccitt", "group3", "group4") else "L"
    try:
        Image.new(mode, (16, 16)).save(BytesIO(), "TIFF", compression=None if name == "raw" else name)
    except Exception:
        return name in ("tiff_raw_16", "packbits")
    return True
