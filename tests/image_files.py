"""Image files written byte by byte, of kinds that Pillow reads and does not write."""

import base64
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

# 8 x 8 grey values in steps of 4, encoded by other libraries.
FOREIGN = {
    "lossless JPEG of 8 bits": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALCAAIAAgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAAAwYI/9oACAEBAAEAAM/oiIiJQIiIiJQI"
        "iIiJQIiIiJQIiIiJQIiIiJQIiIiJQIiIiJ//2Q=="
    ),
    "lossless JPEG": (
        "/9j/xAAXAAEBAQEAAAAAAAAAAAAAAAANDgsQ/8MACxAACAAIAQARAP/aAAgBAAAGAADtATQE0BNATQE0BNASgIEBBAQQEEBBAQQEEBCg"
        "IEBBAQQEEBBAQQEEBCgIEBBAQQEEBBAQQEEBCgIEBBAQQEEBBAQQEEBCgIEBBAQQEEBBAQQEEBCgIEBBAQQEEBBAQQEEBCgIEBBAQQEE"
        "BBAQQEEBAP/Z"
    ),
    "JPEG of 12 bits a sample": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoK"
        "BggLDAsKDAkKCgr/wQALDAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACP/EABwQAAAGAwAAAAAAAAAAAAAAAAALDio2SFRkcv/a"
        "AAgBAQAAPwA/luKbjYEwvxq286g//9k="
    ),
    "JPEG-LS": (
        "/9j/6AAgU1BJRkYAAgAAAQAAAAgAAAAICggGAQAAASwAAAEs/+gACAAAAAH/2P/3AAsIAAgACAEBEQD/2gAIAQEAAAAAnd1/cAAIRk2x"
        "AAAkqpn1XR5/nX+cf5t/AP/Z"
    ),
    "JPEG XL": ("/wpBQFDcCAgEAQBgAEsoJMY3FCQkxcSJAJ8AD1jAAhawgAUsAA=="),
    "JPEG 2000 of 4 bits a sample": (
        "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAACAAAAAgAAQMHAAAAAAAPY29scgEAAAAAABEA"
        "AACZanAyY/9P/1EAKQAAAAAACAAAAAgAAAAAAAAAAAAAAAgAAAAIAAAAAAAAAAAAAQMBAf9SAAwAAAABAAAEBAAB/1wABEAg/2QAJQAB"
        "Q3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAJwAB/5PfIWASg5RteJe6aIb8CEPq/pIOymMbBsaf/9k="
    ),
    "JPEG 2000 of 12 bits a sample in colour": (
        "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAACAAAAAgAAwsHAAAAAAAPY29scgEAAAAAABAA"
        "AAC3anAyY/9P/1EALwAAAAAACAAAAAgAAAAAAAAAAAAAAAgAAAAIAAAAAAAAAAAAAwsBAQsBAQsBAf9SAAwAAAABAQAEBAAB/1wABEBg"
        "/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAPwAB/5Pf4LASKwMLCxPkuS+FPzhQgqEU/1Zxw3N9"
        "JM4wvb1yYz7qxGrzTDo5fYsu9lehv4CA/9k="
    ),
    "JPEG 2000 of 12 bits a sample, grey": (
        "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAACAAAAAgAAQsHAAAAAAAPY29scgEAAAAAABEA"
        "AACvanAyY/9P/1EAKQAAAAAACAAAAAgAAAAAAAAAAAAAAAgAAAAIAAAAAAAAAAAAAQsBAf9SAAwAAAABAAAEBAAB/1wABEBg/2QAJQAB"
        "Q3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAPQAB/5Pf4LASKwMLCxPkuS+FPzhQgqEU/1Zxw3N9JM4wvb1y"
        "Yz7qxGrzTDo5fYsu9lehv//Z"
    ),
}
FOREIGN_VALUES = (np.arange(64).reshape(8, 8, 1) * 4).astype(np.uint8)
_CODES = {"u": 1, "i": 2, "f": 3, "c": 6}


def foreign(name: str) -> bytes:
    return base64.b64decode(FOREIGN[name])


def saved(image: Image.Image | np.ndarray, form: str, **options: Any) -> bytes:
    stream = BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, form, **options)
    return stream.getvalue()


def tiff(
    values: np.ndarray, photometric: int = 1, order: str = "<", planar: bool = False, **tags: tuple[Any, ...]
) -> bytes:
    """A TIFF of one strip a plane, uncompressed or (tag `compression`) deflated; `tags` are more tags of it.

    `values` are [H, W] or [H, W, bands]; a tag is (number, type, values) and perhaps a false count, its
    values packed bytes or numbers.
    """
    bands = values.shape[2] if values.ndim == 3 else 1
    planes = np.moveaxis(values, 2, 0) if planar and bands > 1 else [values]
    strips = [plane.astype(plane.dtype.newbyteorder(order)).tobytes() for plane in planes]
    if "compression" in tags:
        strips = [zlib.compress(strip) for strip in strips]
    starts = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries = {
        256: (3, [values.shape[1]]),
        257: (3, [values.shape[0]]),
        258: (3, [values.dtype.itemsize * 8] * bands),
        259: (3, [1]),
        262: (3, [photometric]),
        273: (4, starts),
        277: (3, [bands]),
        278: (3, [values.shape[0]]),
        279: (4, [len(strip) for strip in strips]),
        284: (3, [2 if planar else 1]),
        339: (3, [_CODES[values.dtype.kind]] * bands),
    } | {number: tuple(facts) for number, *facts in tags.values()}
    pixels = b"".join(strips)
    pixels += b"\0" * (len(pixels) % 2)
    place, directory, outside = 8 + len(pixels), b"", b""
    for number, (kind, held, *count) in sorted(entries.items()):
        packed = held if isinstance(held, bytes) else struct.pack(f"{order}{len(held)}{'?BBHI'[kind]}", *held)
        if len(packed) > 4:
            outside += b"\0" * (len(outside) % 2)
            packed, outside = (
                struct.pack(order + "I", place + 2 + 12 * len(entries) + 4 + len(outside)),
                outside + packed,
            )
        directory += struct.pack(order + "HHI", number, kind, *(count or [len(held)])) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    return head + pixels + struct.pack(order + "H", len(entries)) + directory + bytes(4) + outside


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows: list[bytes], width: int, bits: int, colour: int, extra: bytes = b"") -> bytes:
    """A PNG of these packed rows; `colour` is PNG's number: 0 grey, 2 RGB, 3 palette, 4 and 6 with alpha."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def pgm(values: Any, white: int = 65535) -> bytes:
    stored = np.asarray(values, ">u2" if white > 255 else "u1")
    return b"P5\n%d %d\n%d\n" % (*stored.shape[::-1], white) + stored.tobytes()


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def exif(orientation: int, *rows: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of an orientation and of rows (tag, type, count, bytes), ill-typed ones too."""
    every = sorted([(0x0112, 3, 1, struct.pack("<H", orientation)), *rows])
    place, data, body = 8 + 2 + 12 * len(every) + 4, b"", b""
    for tag, kind, count, value in every:
        packed = value
        if len(value) > 4:
            packed, data = struct.pack("<I", place + len(data)), data + value
        body += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(every)) + body + bytes(4) + data
