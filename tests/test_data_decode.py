"""Every way a file stores its pixels comes out right, and every damaged file is said to be damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resomap.data.decode import DamagedImage, decode, resize

RAMP = np.linspace(0, 255, 64 * 48).astype(np.uint8).reshape(48, 64)
COLOURS = np.dstack([RAMP, RAMP[::-1], np.full_like(RAMP, 77)])
RED_LEFT = np.zeros((20, 30, 3), np.uint8)
RED_LEFT[:, :15, 0] = 255


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def tiff_of_12_bits(values: list[int], width: int, photometric: int = 1) -> bytes:
    """An uncompressed TIFF whose grey values take 12 bits each: Pillow reads such files but writes none."""
    bits = "".join(f"{value:012b}" for value in values)
    pixels = int(bits, 2).to_bytes(len(bits) // 8, "big")
    tags = [
        (256, 3, width),
        (257, 3, len(values) // width),
        (258, 3, 12),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, len(values) // width),
        (279, 4, len(pixels)),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags
    )
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + b"\0\0\0\0"


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm", "webp"])
def test_grey_is_one_channel_and_exact(tmp_path: Path, suffix: str) -> None:
    pixels = decode(saved(tmp_path / f"a.{suffix}", Image.fromarray(RAMP), **_lossless(suffix)))
    # WebP knows no grey, so it comes back as colour with three equal channels.
    assert pixels.dtype == np.uint8
    assert pixels.shape == (48, 64, 3 if suffix == "webp" else 1)
    assert (pixels == RAMP[:, :, None]).all()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_colour_is_three_channels_and_exact(tmp_path: Path, suffix: str) -> None:
    pixels = decode(saved(tmp_path / f"a.{suffix}", Image.fromarray(COLOURS), **_lossless(suffix)))
    assert (pixels == COLOURS).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_scale_linearly(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768], [25700, 65278, 65406, 65407, 65535]], np.uint16)
    pixels = decode(saved(tmp_path / f"a.{suffix}", Image.fromarray(values)))
    assert pixels[:, :, 0].tolist() == [[0, 0, 1, 1, 128], [100, 254, 254, 255, 255]]


def test_16_bits_in_big_endian_order(tmp_path: Path) -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 65535, 25700))
    assert decode(saved(tmp_path / "a.tif", image)).ravel().tolist() == [255, 100]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_1_bit(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    assert (decode(saved(tmp_path / f"a.{suffix}", image))[:, :, 0] == (RAMP > 100) * 255).all()


def test_12_bit_tiff_fills_the_range(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of_12_bits([0, 4095, 2048, 1000], width=2))
    assert decode(path).ravel().tolist() == [0, 255, 128, 62]


def test_16_bit_tiff_that_counts_from_white(tmp_path: Path) -> None:
    values = np.array([[0, 65535]], np.uint16)
    path = saved(tmp_path / "a.tif", Image.fromarray(values), tiffinfo={262: 0})
    with Image.open(path) as image:
        stored = image.tag_v2[262]
    assert stored == 0
    assert decode(path).ravel().tolist() == [255, 0]


def test_palette_of_colours(tmp_path: Path) -> None:
    image = Image.fromarray(RED_LEFT).quantize(4)
    assert image.mode == "P"
    assert (decode(saved(tmp_path / "a.png", image)) == RED_LEFT).all()


def test_palette_of_greys_is_grey(tmp_path: Path) -> None:
    image = Image.fromarray(np.dstack([RED_LEFT[:, :, 0]] * 3)).quantize(4)
    assert decode(saved(tmp_path / "a.png", image)).shape == (20, 30, 1)


def test_palette_with_transparency_stands_on_white(tmp_path: Path) -> None:
    image = Image.fromarray((RED_LEFT[:, :, 0] > 0).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 200, 255, 0, 0])
    pixels = decode(saved(tmp_path / "a.png", image, transparency=0))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 29].tolist() == [255, 255, 255]


def test_alpha_stands_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 128]]], np.uint8)
    assert decode(saved(tmp_path / "a.png", Image.fromarray(rgba))).tolist() == [
        [[200, 0, 0], [255, 255, 255], [227, 127, 127]]
    ]
    grey = np.array([[[100, 255], [100, 0], [0, 51]]], np.uint8)
    pixels = decode(saved(tmp_path / "b.png", Image.fromarray(grey, mode="LA")))
    assert pixels.shape == (1, 3, 1)
    assert pixels.ravel().tolist() == [100, 255, 204]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(RED_LEFT).convert("CMYK"), quality=100)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    pixels = decode(path).astype(int)
    assert np.abs(pixels[:, :10] - [255, 0, 0]).max() < 12
    assert pixels[:, 20:].max() < 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(3, RED_LEFT[::-1, ::-1]), (6, np.rot90(RED_LEFT, -1)), (8, np.rot90(RED_LEFT)), (5, RED_LEFT.transpose(1, 0, 2))],
)
def test_exif_rotation(tmp_path: Path, suffix: str, orientation: int, turned: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(RED_LEFT), exif=exif)
    pixels = decode(path)
    assert pixels.shape == turned.shape
    assert np.abs(pixels.astype(int) - turned).mean() < 8


def test_exif_rotation_of_16_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.array([[0, 65535, 25700]], np.uint16)
    pixels = decode(saved(tmp_path / "a.png", Image.fromarray(values), exif=exif))
    assert pixels.shape == (3, 1, 1)
    assert pixels.ravel().tolist() == [0, 255, 100]


def test_damaged_exif_does_not_condemn_the_pixels(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(COLOURS), exif=b"Exif\0\0nonsense, no header of any kind")
    assert decode(path).shape == COLOURS.shape


def test_whole_numbers_of_32_bits_are_taken_by_their_range(tmp_path: Path) -> None:
    eight = saved(tmp_path / "a.tif", Image.fromarray(np.array([[0, 200]], np.int32)))
    sixteen = saved(tmp_path / "b.tif", Image.fromarray(np.array([[0, 65535]], np.float32)))
    assert decode(eight).ravel().tolist() == [0, 200]
    assert decode(sixteen).ravel().tolist() == [0, 255]


@pytest.mark.parametrize("values", [[[-1, 5]], [[0, 70000]], [[0.25, 0.5]], [[0.0, float("nan")]]])
def test_other_32_bit_values_are_refused(tmp_path: Path, values: list[list[float]]) -> None:
    kind = np.float32 if isinstance(values[0][1], float) else np.int32
    path = saved(tmp_path / "a.tif", Image.fromarray(np.array(values, kind)))
    with pytest.raises(DamagedImage, match="8 or 16 bits"):
        decode(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "gif", "ppm", "webp"])
def test_truncated_files_are_errors(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DamagedImage, match="truncated or damaged"):
            decode(path)


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(COLOURS))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedImage, match="truncated or damaged"):
        decode(path)


def test_other_bad_files(tmp_path: Path) -> None:
    empty, text, gone = tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.jpg"
    empty.touch()
    text.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    gone.symlink_to(tmp_path / "nowhere.jpg")
    for path, kind in ((empty, "zero bytes"), (text, "not an image"), (gone, "unreadable"), (tmp_path, "not an image")):
        with pytest.raises(DamagedImage) as caught:
            decode(path)
        assert caught.value.kind == kind


def test_a_decompression_bomb_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (20_000, 20_000)))
    with pytest.raises(DamagedImage, match="too many pixels"):
        decode(path)


def test_fit_center_keeps_the_middle_squash_all_border_adds_black() -> None:
    image = np.full((40, 80, 3), 200, np.uint8)
    image[:, :20] = image[:, 60:] = (255, 0, 0)
    center, squash, border = (resize(image, 32, fit) for fit in ("center", "squash", "border"))
    assert center.shape == squash.shape == border.shape == (32, 32, 3)
    assert (center[:, 3:-3] == 200).all()
    assert squash[16, 2].tolist() == [255, 0, 0]
    assert squash[16, 16].tolist() == [200, 200, 200]
    assert (border[:8] == 0).all()
    assert (border[24:] == 0).all()
    assert border[16, 2].tolist() == [255, 0, 0]


def test_scaling_down_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 1), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 32, "squash").astype(int)
    assert small.shape == (32, 32, 1)
    assert np.abs(small - 127.5).max() < 6


def _lossless(suffix: str) -> dict[str, object]:
    return {"lossless": True} if suffix == "webp" else {}
