"""Every format that is accepted gives the pixels of PIL and OpenCV; every other is refused by its name."""

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT
from image_files import FOREIGN_VALUES, foreign, pgm, png, png_chunk, saved, tiff
from PIL import Image

from resomap.config.schema import Data
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes
from resomap.data.image_formats import AVIF, HEIC, READ, SUFFIXES, is_image
from resomap.data.manifest import make_manifest
from resomap.data.pixels import ALL_TRANSPARENT, FURTHER_BANDS, FURTHER_FRAMES, PARTLY_TRANSPARENT

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
GREY = ((COLUMNS * 5 + ROWS * 3) % 256).astype(np.uint8)
RGB = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
NOISE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
DEEP = RGB.astype(np.uint16) * 257
CLEAR = np.full_like(GREY, 102)
OVER_WHITE = np.round(RGB * (102 / 255) + 153)
BITS_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
DEFLATED = (259, 3, [8])
IMAGE = Image.fromarray(RGB)


def pixels(content: bytes) -> np.ndarray:
    return decode_bytes(content).pixels.astype(int)


def by_opencv(content: bytes) -> np.ndarray:
    """Pixels [H, W, 3] of 8 bits, as OpenCV reads the file's values, with none of its own conversions to 8 bits."""
    buffer = np.frombuffer(content, np.uint8)
    stored = cv2.imdecode(buffer, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if stored is None:  # what it does not bring to colours, which is grey
        stored = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)[:, :, None]
    if stored.dtype == np.uint16:
        stored = np.round(stored / 257)
    return stored[:, :, ::-1].astype(int)


def saved_as(form: str, mode: str = "RGB", **options: object) -> bytes:
    return saved(IMAGE.convert(mode), form, **options)


def reversed_bits(values: np.ndarray) -> bytes:
    turned = np.frombuffer(values.tobytes().translate(BITS_REVERSED), values.dtype).reshape(values.shape)
    return tiff(turned, fill=(266, 3, [2]))


def bmp_of_16_bits(values: list[int]) -> bytes:
    """A BMP of 5 bits a colour: OpenCV fills up with zeros, so that its white is 248."""
    header = struct.pack("<IiiHHIIiiII", 40, len(values), 1, 1, 16, 0, 2 * len(values), 0, 0, 0, 0)
    pixels = struct.pack(f"<{len(values)}H", *values)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


BY_BOTH: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved_as("JPEG", quality=90),
    "JPEG, noise": lambda: saved(NOISE, "JPEG", quality=60),
    "JPEG, progressive": lambda: saved_as("JPEG", progressive=True, subsampling=2),
    "JPEG, grey": lambda: saved_as("JPEG", "L"),
    "JPEG, CMYK": lambda: saved_as("JPEG", "CMYK"),
    "lossless JPEG of 8 bits": lambda: foreign("lossless JPEG of 8 bits"),
    "PNG": lambda: saved_as("PNG"),
    "PNG, 1 bit": lambda: saved_as("PNG", "1"),
    "PNG, 2 bits": lambda: png([bytes(range(0, 240, 3))] * 2, 320, 2, 0),
    "PNG, 4 bits": lambda: png([bytes(range(0, 240, 3))] * 2, 160, 4, 0),
    "PNG, grey": lambda: saved_as("PNG", "L"),
    "PNG, palette": lambda: saved_as("PNG", "P"),
    "PNG, 16 bits": lambda: saved(DEEP[:, :, 0] + 77, "PNG"),
    "PNG, 16 bits of colour": lambda: png([row.astype(">u2").tobytes() for row in DEEP], 48, 16, 2),
    "GIF": lambda: saved_as("GIF"),
    "BMP": lambda: saved_as("BMP"),
    "BMP, 1 bit": lambda: saved_as("BMP", "1"),
    "BMP, grey": lambda: saved_as("BMP", "L"),
    "WebP": lambda: saved_as("WEBP"),
    "WebP, lossless": lambda: saved_as("WEBP", lossless=True),
    "AVIF": lambda: saved_as("AVIF"),
    "JPEG 2000": lambda: saved_as("JPEG2000"),
    "JPEG 2000, lossy": lambda: saved_as("JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[20]),
    "JPEG 2000, grey": lambda: saved_as("JPEG2000", "L"),
    "PPM": lambda: saved_as("PPM"),
    "PGM, 16 bits": lambda: pgm(DEEP[:, :, 0]),
    "PBM": lambda: saved_as("PPM", "1"),
    "TIFF": lambda: saved_as("TIFF"),
    "TIFF, LZW": lambda: saved_as("TIFF", compression="tiff_lzw"),
    "TIFF, JPEG": lambda: saved_as("TIFF", compression="jpeg"),
    "TIFF, CMYK": lambda: saved_as("TIFF", "CMYK"),
    "TIFF, YCbCr": lambda: saved_as("TIFF", "YCbCr"),
    "TIFF, 1 bit": lambda: saved_as("TIFF", "1", compression="group4"),
    "TIFF, 16 bits": lambda: tiff(DEEP[:, :, 0]),
    "TIFF, 16 bits of colour": lambda: tiff(DEEP, 2),
    "TIFF, 8 bits of colour in planes": lambda: tiff(RGB, 2, planar=True),
}


@pytest.mark.parametrize("name", BY_BOTH)
def test_accepted_pixels_are_those_of_pil_and_opencv(name: str) -> None:
    content = BY_BOTH[name]()
    found, other = pixels(content), by_opencv(content)
    assert found.shape[:2] == other.shape[:2]
    assert np.abs(found - other).max() <= 1
    with Image.open(BytesIO(content)) as image:
        if not image.mode.startswith("I"):  # where PIL's own pixels are 8 bits
            assert np.abs(found - np.asarray(image.convert("RGB")).astype(int)).max() <= 1


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [{}, {"compression": DEFLATED}], ids=["plain", "deflated"])
@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "float32"])
def test_kinds_that_no_header_gives_a_scale(kind: str, order: str, packed: dict[str, Any]) -> None:
    """Those that OpenCV does not bring to 8 bits: held against the values that were written."""
    if (kind, order) == ("uint32", ">"):
        pytest.skip("refused by its name")
    values, wanted = (GREY // 2, GREY // 2) if kind == "int8" else (DEEP[:, :, 0] // 2, GREY / 2)
    content = tiff(values.astype(kind), order=order, **packed)
    assert np.abs(pixels(content)[:, :, 0] - wanted).max() <= 1


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (lambda: tiff(np.dstack([RGB, CLEAR]), 2, alpha=(338, 3, [2])), OVER_WHITE),
        (lambda: tiff(DEEP, 2, planar=True), RGB),
        (lambda: tiff(DEEP, 2, ">", planar=True), RGB),
        (lambda: tiff(DEEP, 2, planar=True, compression=DEFLATED), RGB),
        (
            lambda: tiff(np.dstack([DEEP, CLEAR.astype(np.uint16) * 257]), 2, planar=True, alpha=(338, 3, [2])),
            OVER_WHITE,
        ),
        (lambda: tiff(np.dstack([GREY // 4, CLEAR]), alpha=(338, 3, [1])), (GREY // 4)[:, :, None] + 153),
        (lambda: saved(np.dstack([RGB, CLEAR]), "WEBP", lossless=True), OVER_WHITE),
        (lambda: saved(np.dstack([RGB, CLEAR]), "PNG"), OVER_WHITE),
        (lambda: reversed_bits(GREY), GREY[:, :, None]),
        (lambda: reversed_bits(DEEP[:, :, 0]), GREY[:, :, None]),
        (lambda: tiff(GREY, 0), 255 - GREY[:, :, None]),
        (lambda: bmp_of_16_bits([0x7FFF, 0x7C00, 0x0210, 0]), [[[255] * 3, [255, 0, 0], [0, 132, 132], [0] * 3]]),
        (lambda: tiff(np.dstack([RGB, CLEAR, CLEAR]), 2, extra=(338, 3, [0, 0])), RGB),
        (lambda: foreign("JPEG 2000 of 12 bits a sample, grey"), FOREIGN_VALUES),
        (lambda: png([bytes([0b00_01_10_11])], 4, 2, 0, png_chunk(b"tRNS", b"\0\1")), [[[0], [255], [170], [255]]]),
        (
            lambda: png([struct.pack(">2H", 257, 514)], 2, 16, 0, png_chunk(b"tRNS", struct.pack(">H", 514))),
            [[[1], [255]]],
        ),
        (lambda: b"P2\n2 1\n1000\n0 500\n", [[[0], [128]]]),
    ],
)
def test_kinds_that_opencv_reads_otherwise(content: Callable[[], bytes], wanted: np.ndarray) -> None:
    """Planes, transparency, bits in another order, depths of their own: held against the values that were written."""
    found = pixels(content())
    assert found.shape == np.shape(wanted)
    assert np.abs(found - wanted).max() <= 1


REFUSED: dict[str, Callable[[], bytes]] = {
    "TIFF of one band of 16-bit floats": lambda: tiff(GREY.astype(np.float16)),
    "TIFF of one band of 64-bit floats": lambda: tiff(GREY.astype(np.float64)),
    "TIFF of one band of 64-bit whole numbers": lambda: tiff(GREY.astype(np.uint64)),
    "TIFF of one band of 64-bit complex floats": lambda: tiff(GREY.astype(np.complex64)),
    "TIFF of 13 bands of 16-bit whole numbers": lambda: tiff(np.dstack([GREY] * 13).astype(np.uint16)),
    "TIFF of 2 bands of 8-bit whole numbers, in separate planes": lambda: tiff(
        np.dstack([GREY, CLEAR]), planar=True, compression=DEFLATED, alpha=(338, 3, [2])
    ),
    "TIFF of 3 bands of 12-bit whole numbers": lambda: tiff(RGB, 2, bits=(258, 3, [12] * 3)),
    "TIFF of one band of 14-bit whole numbers": lambda: tiff(DEEP[:, :, 0], bits=(258, 3, [14])),
    "TIFF of one band of 32-bit whole numbers, big-endian": lambda: tiff(GREY.astype(np.uint32), order=">"),
    "TIFF of 3 bands of 8-bit whole numbers, CIELab colours": lambda: tiff(RGB, 8),
    "TIFF compressed by LERC": lambda: tiff(GREY, packing=(259, 3, [34887])),
    "BigTIFF, big-endian": lambda: b"MM\0+" + bytes(60),
    "camera raw": lambda: tiff(RGB, 2, thumbnail=(254, 4, [1]), others=(330, 4, [8])),
    "lossless JPEG": lambda: foreign("lossless JPEG"),
    "JPEG of 12 bits a sample": lambda: foreign("JPEG of 12 bits a sample"),
    "JPEG-LS": lambda: foreign("JPEG-LS"),
    "JPEG XL": lambda: foreign("JPEG XL"),
    "JPEG 2000 of 4 bits a sample": lambda: foreign("JPEG 2000 of 4 bits a sample"),
    "JPEG 2000 of 12 bits a sample in colour": lambda: foreign("JPEG 2000 of 12 bits a sample in colour"),
    "PFM in colour": lambda: b"PF\n1 1\n-1.0\n" + bytes(12),
    "PAM": lambda: b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0",
    "Photoshop": lambda: b"8BPS\0\1" + bytes(30),
    "icon": lambda: saved(IMAGE, "ICO"),
}


AS_NUMBERS = {
    "TIFF of 13 bands of 16-bit whole numbers": "data.channels: 13 reads them",
    "TIFF of 2 bands of 8-bit whole numbers, in separate planes": "data.channels: 2 reads them",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_its_name(name: str) -> None:
    way_out = AS_NUMBERS.get(name, "save the image as PNG or JPEG")
    assert str(refusal(REFUSED[name]())) == f"unsupported format ({name}; {way_out})"


NO_SCALE: dict[str, Callable[[], bytes]] = {
    "TIFF of signed 8 bits with negative values": lambda: tiff((GREY.astype(int) - 128).astype(np.int8)),
    "negative numbers": lambda: tiff(GREY.astype(np.int16) - 5),
    "more than 16 bits": lambda: tiff(GREY.astype(np.uint32) * 65536),
    "floats from 0 to 1": lambda: tiff(GREY.astype(np.float32) / 255),
    "floats that are no numbers": lambda: tiff(np.full_like(GREY, np.nan, np.float32)),
    "TIFF of 32 bits that counts from white": lambda: tiff(GREY.astype(np.float32), 0),
}


def refusal(content: bytes) -> DamagedImage:
    with pytest.raises(DamagedImage) as caught:
        decode_bytes(content)
    return caught.value


@pytest.mark.parametrize("name", NO_SCALE)
def test_values_without_a_scale_are_refused(name: str) -> None:
    found = refusal(NO_SCALE[name]())
    assert found.kind == "unsupported pixels"
    assert found.detail.startswith(name if name.startswith("TIFF") else "32-bit values outside 0 to 65535 or not whole")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>404", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x20ftypisom" + bytes(30), "a video"),
        (b"BM, as the text begins", "in no known format"),
    ],
)
def test_what_is_no_image_is_named_too(content: bytes, words: str) -> None:
    with pytest.raises(DamagedImage, match=words) as caught:
        decode_bytes(content)
    assert caught.value.kind == "not an image"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP, lossless", "AVIF", "JPEG 2000", "TIFF, LZW", "HEIC"])
def test_damage_is_said_of_damage(name: str) -> None:
    content = heic(NOISE) if name == "HEIC" else BY_BOTH[name]()
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DamagedImage, match=name.partition(",")[0]) as caught:
            decode_bytes(content[: int(len(content) * share)])
        assert caught.value.kind == "truncated or damaged"
        assert "\n" not in str(caught.value)


def heic(values: np.ndarray, **options: object) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return saved(values, "HEIF", quality=-1, **options)


@pytest.mark.parametrize("form", ["HEIF", "AVIF"])
def test_photos_of_phones_stand_upright(form: str) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    content = heic(RGB, exif=turned.tobytes()) if form == "HEIF" else saved(RGB, form, quality=100, exif=turned)
    wanted = np.rot90(RGB, -1).astype(int)
    found = pixels(content)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 6  # photos store half the resolution of colours


def test_without_the_extra_heic_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(heic(RGB))
    # A finder ahead of all others that knows no pillow_heif: as where the extra is not installed.
    program = (
        "import sys, importlib.util, pathlib\n"
        "known = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pillow_heif' else known(name, *rest)\n"
        "from resomap.data.decode import decode\n"
        "decode(pathlib.Path('photo.jpg'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "unsupported format (HEIC, which is read after `pip install pillow-heif`)" in done.stderr


def test_files_are_images_by_content_under_any_name(tmp_path: Path) -> None:
    root = tmp_path / "images"
    names = ["a.jfif", "b.jpe", "c", "d.JPG", "e.dat", "f.avif", "g.jp2", "h.heic", "i.png"]
    forms = ["JPEG", "JPEG", "PNG", "WEBP", "GIF", "AVIF", "JPEG2000", "HEIF", "AVIF"]
    for number, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for seed, (name, form) in enumerate(zip(names, forms, strict=True)):
            values = np.random.default_rng(100 * number + seed).integers(0, 256, (16, 16, 3), np.uint8)
            (root / label / name).write_bytes(heic(values) if form == "HEIF" else saved(values, form))
    manifest = make_manifest(Data(source=str(root)), tmp_path / "data", 1)
    assert {entry.name for entry in manifest.entries} == {
        f"{label}/{name}" for label in ("cat", "dog") for name in names
    }
    (root / "cat" / "notes").write_text("P5 is no picture, and nor is this\n")
    assert not is_image(root / "cat" / "notes")


def test_what_is_thrown_away_is_said(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number, label in enumerate(("cat", "dog")):
        (root / label).mkdir(parents=True)
        for seed in range(8):
            values = np.random.default_rng(100 * number + seed).integers(0, 256, (16, 16, 3), np.uint8)
            (root / label / f"{seed}.png").write_bytes(saved(values, "PNG"))
    noise = np.random.default_rng(9).integers(0, 256, (16, 16, 5), np.uint8)
    alpha = noise[:, :, :4].copy()
    alpha[:, :, 3] = 0
    pages = [Image.fromarray(noise[:, :, :3]), Image.fromarray(noise[:, :, 1:4])]
    (root / "cat/zero.png").write_bytes(saved(alpha, "PNG"))
    (root / "cat/data.png").write_bytes(saved(noise[:, :, :4], "PNG"))
    (root / "cat/opaque.png").write_bytes(saved(np.dstack([noise[:, :, 2:5], np.full((16, 16), 255, np.uint8)]), "PNG"))
    (root / "dog/pages.tif").write_bytes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    (root / "dog/frames.gif").write_bytes(saved(pages[1], "GIF", save_all=True, append_images=pages[:1]))
    (root / "dog/bands.tif").write_bytes(tiff(noise, 2, extra=(338, 3, [0, 0])))
    make_manifest(Data(source=str(root)), tmp_path / "data", 1)
    report = (tmp_path / "data/check.md").read_text()
    said = {
        "Transparent everywhere, and so all white": ["cat/zero.png"],
        "Transparent in part: what lies under the transparency is white": ["cat/data.png"],
        "More than one page or frame: only the first is used": ["dog/frames.gif", "dog/pages.tif"],
        "More bands than the colours: the further ones are not used": ["dog/bands.tif"],
    }
    for sentence, names in said.items():
        listed = "".join(f"\n    - `{name}`" for name in names)
        assert f"- {sentence}: {len(names)}{listed}\n" in report


def test_the_page_on_images_names_each_format_and_each_refusal() -> None:
    page = (ROOT / "docs/data.md").read_text()
    rows = set(re.findall(r"^\| ([A-Z][\w ]+) \|", page, re.MULTILINE))
    assert rows >= {which.name for which in (*READ, AVIF, HEIC)}
    assert [suffix for suffix in SUFFIXES if f"`{suffix}`" not in page] == []
    assert [name for name in REFUSED if f"`{name}`" not in page] == []
    assert [str(found) for found in (refusal(make()) for make in NO_SCALE.values()) if f"`{found}`" not in page] == []
    losses = (ALL_TRANSPARENT, PARTLY_TRANSPARENT, FURTHER_FRAMES, FURTHER_BANDS)
    assert [loss for loss in losses if f"- `{loss}`" not in page] == []
