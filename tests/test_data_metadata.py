"""Metadata are not pixels: whatever is wrong with them, the picture is read, and turned where they say so."""

import struct
import zlib

import numpy as np
import pytest
from image_files import exif, jpeg_segment, png_chunk, saved, tiff
from PIL import Image

from resomap.data.decode import decode_bytes

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
GREY = ((COLUMNS * 5 + ROWS * 3) % 256).astype(np.uint8)
RGB = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
DEFLATED = (259, 3, [8])


def pixels(content: bytes) -> np.ndarray:
    return decode_bytes(content).pixels.astype(int)


ILL_TYPED = {
    "ResolutionUnit as BYTE": (0x0128, 1, 1, b"\2"),
    "XResolution as text": (0x011A, 2, 3, b"72\0"),
    "ImageDescription as RATIONAL": (0x010E, 5, 1, struct.pack("<II", 1, 1)),
    "Copyright as FLOAT": (0x8298, 11, 1, struct.pack("<f", 1)),
    "offset of GPS as text": (0x8825, 2, 2, b"x\0"),
    "offset of EXIF far outside": (0x8769, 4, 1, struct.pack("<I", 2**31)),
    "a type that does not exist": (0x010F, 99, 1, b"abcd"),
    "more values than the file has": (0x0110, 2, 2**30, b"\0\0\1\0"),
}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF, deflated"])
@pytest.mark.parametrize("row", ILL_TYPED)
def test_ill_typed_tags_cost_nothing(row: str, form: str, orientation: int) -> None:
    tag, kind, count, value = ILL_TYPED[row]
    if form.startswith("TIFF"):
        extra = {"odd": (tag, kind, value, count), "turn": (274, 3, [orientation])}
        content = tiff(RGB, 2, **extra, **({"compression": DEFLATED} if "deflated" in form else {}))
    else:
        content = saved(
            RGB, form, exif=exif(orientation, ILL_TYPED[row]), **({"lossless": True} if form == "WEBP" else {})
        )
    wanted = (RGB if orientation == 1 else np.rot90(RGB, -1)).astype(int)
    found = pixels(content)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < (9 if form == "JPEG" else 0.1)


PLAIN = saved(RGB, "PNG")
XMP = b"XML:com.adobe.xmp\0\1\0\0\0"


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"iTXt", XMP + zlib.compress(b"a" * 3_000_000)),
        png_chunk(b"iCCP", b"p\0\0" + zlib.compress(b"a" * 3_000_000)),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 90_000_000)),
        png_chunk(b"tEXt", b"Comment\0changed after its checksum")[:-1] + b"?",
        png_chunk(b"pHYs", b""),
        png_chunk(b"acTL", b"\0"),
    ],
    ids=["XMP", "profile", "bomb", "checksum", "empty", "animation"],
)
def test_metadata_of_a_png_are_not_its_pixels(chunk: bytes) -> None:
    assert (pixels(PLAIN[:33] + chunk + PLAIN[33:]) == RGB).all()


def test_a_large_xmp_still_turns_the_picture() -> None:
    text = b'<x tiff:Orientation="6"/>' + b" " * 3_000_000
    chunk = png_chunk(b"iTXt", XMP + zlib.compress(text))
    assert (pixels(PLAIN[:33] + chunk + PLAIN[33:]) == np.rot90(RGB, -1)).all()


@pytest.mark.parametrize("segment", [b"MPF\0II*\0\x08\0\0\0\1", b"MPF\0MM\0*", b"ICC_PROFILE\0\1\1", b"FPXR\0"])
def test_metadata_of_a_jpeg_are_not_its_pixels(segment: bytes) -> None:
    plain = saved(RGB, "JPEG")
    assert (pixels(plain[:20] + jpeg_segment(0xE2, segment) + plain[20:]) == pixels(plain)).all()


def test_an_avif_whose_exif_is_no_exif_is_read_and_turned() -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010E] = 6, "a description"
    content = saved(RGB, "AVIF", exif=tags)
    wanted = pixels(content)
    assert wanted.shape == (48, 32, 3)
    place = content.rindex(b"MM\0*", 0, content.index(b"a description"))
    assert (pixels(content[:place] + b"XX" + content[place + 2 :]) == wanted).all()
