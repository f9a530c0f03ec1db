"""Metadata of image files: the orientation, which is all that is needed of it, and the same file without the rest.

Metadata are not pixels: a file whose metadata cannot be read is read without them.
"""

import re
import struct
from collections.abc import Iterator
from zlib import crc32

from PIL import ExifTags, Image, PngImagePlugin

# Profiles and edit histories grow larger than Pillow's 1 MiB; this bounds what a hostile file unpacks to.
PngImagePlugin.MAX_TEXT_CHUNK = 64 << 20
PngImagePlugin.MAX_TEXT_MEMORY = 256 << 20

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_JFIF, _EXIF, _ADOBE, _COMMENT, _SCAN = 0xE0, 0xE1, 0xEE, 0xFE, 0xDA
# The entry of a HEIF or AVIF file that names its EXIF: version, number and protection stand before the type.
_EXIF_ITEM = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)
# What decides the pixels of a TIFF: its size, how they are stored, and the orientation.
_TIFF_PIXELS = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332}
    | {338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
)


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF or XMP says. Tags that cannot be read say nothing about the pixels."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata make Pillow raise nearly anything
        return image
    return image if turn is None else image.transpose(turn)


def leaner_copies(content: bytes) -> Iterator[bytes]:
    """Yield the file without the metadata that do not decide its pixels, first with its EXIF, then without.

    Nothing is yielded for formats whose metadata cannot stand in the way. What cannot be told apart is kept.
    """
    for keeps_exif in (True, False):
        try:
            if content.startswith(_PNG):
                yield _lean_png(content, keeps_exif)
            elif content.startswith(b"\xff\xd8\xff"):
                yield _lean_jpeg(content, keeps_exif)
            elif content.startswith((b"II", b"MM")) and keeps_exif:
                yield _lean_tiff(content)
            elif content[4:8] == b"ftyp" and not keeps_exif:  # AVIF turns by a property of its own
                yield _EXIF_ITEM.sub(rb"\1free", content, count=1)
        except (struct.error, IndexError):
            return


def _lean_png(content: bytes, keeps_exif: bool) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        checksum = struct.pack(">I", crc32(content[at + 4 : end - 4]))
        is_whole_exif = name == b"eXIf" and content[end - 4 : end] == checksum
        if name in _PNG_PIXELS or (keeps_exif and is_whole_exif):
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]])


def _lean_jpeg(content: bytes, keeps_exif: bool) -> bytes:
    kept, at = [content[:2]], 2
    while content[at] == 0xFF and content[at + 1] != _SCAN:
        marker, length = struct.unpack_from(">xBH", content, at)
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # no segment: nothing behind it is told apart
            break
        segment = content[at : at + 2 + length]
        is_metadata = (_JFIF < marker < 0xF0 and marker != _ADOBE) or marker == _COMMENT
        is_exif = marker == _EXIF and segment[4:10] == b"Exif\0\0"
        if not is_metadata or (is_exif and keeps_exif):
            kept.append(segment)
        at += len(segment)
    return b"".join([*kept, content[at:]])


def _lean_tiff(content: bytes) -> bytes:
    """Return the file with a directory of its own at its end, which names the pixels of the first page alone."""
    order = "<" if content[:2] == b"II" else ">"
    if struct.unpack_from(order + "H", content, 2)[0] == 43:
        start, count, entry, word, place = struct.unpack_from(order + "Q", content, 8)[0], "Q", 20, "Q", 8
    else:
        start, count, entry, word, place = struct.unpack_from(order + "I", content, 4)[0], "H", 12, "I", 4
    number = struct.unpack_from(order + count, content, start)[0]
    first = start + struct.calcsize(order + count)
    entries = [content[at : at + entry] for at in range(first, min(first + number * entry, len(content)), entry)]
    kept = [one for one in entries if struct.unpack_from(order + "H", one)[0] in _TIFF_PIXELS]
    padded = content + b"\0" * (len(content) % 2)
    directory = struct.pack(order + count, len(kept)) + b"".join(kept) + struct.pack(order + word, 0)
    head = padded[:place] + struct.pack(order + word, len(padded))
    return head + padded[len(head) :] + directory
