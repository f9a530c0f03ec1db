"""Images of any number of channels: `.npy` and TIFF are read as their numbers, hostile ones are refused by name."""

import struct
import sys
import warnings
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from band_files import draw_bands, multiband, npy
from image_files import saved, tiff
from PIL import Image
from shards import write_csv, write_parquet, write_tar

from resomap.config.hashed import hashed
from resomap.config.load import parse_config
from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data import tiff_bands
from resomap.data.bands import Bands
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode_bytes, resize
from resomap.data.identity import describe
from resomap.data.manifest import make_manifest
from resomap.data.ondemand import OnDemand
from resomap.data.prepare import prepare_images
from resomap.data.store import Store

FIVE = Bands(5)


def header(descr: str, shape: str, fortran: bool = False, version: int = 1) -> bytes:
    """The start of a `.npy` file that says so, whether it is true or not."""
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def many(dtype: Any = np.uint8, height: int = 6, width: int = 9, channels: int = 5) -> np.ndarray:
    """An image in which every value differs from its neighbours: [H, W, C]."""
    values = np.arange(height * width * channels).reshape(height, width, channels) * 7 % 251
    return (values / 255).astype(dtype) if np.dtype(dtype).kind == "f" else values.astype(dtype)


def pixels(content: bytes, bands: Bands = FIVE) -> np.ndarray:
    return decode_bytes(content, bands=bands).pixels


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2", "<f2", "<f4", ">f4", "<f8"])
def test_arrays_are_read_whatever_their_order_and_axis(kind: str, order: str) -> None:
    values = many(kind)
    white = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
    expected = (values.astype(float) / white * 255).round().astype(np.uint8)
    as_stored = np.asarray(values, order=order)  # type: ignore[call-overload]
    assert (pixels(npy(as_stored)) == expected).all(), "channels last"
    assert (pixels(npy(np.asarray(np.moveaxis(values, 2, 0), order=order))) == expected).all()  # type: ignore[call-overload]


def test_the_last_axis_is_of_the_channels_where_both_might_be() -> None:
    values = many(height=5, width=9)
    assert (pixels(npy(values)) == values).all()
    assert (pixels(npy(values[:, :, 0]), Bands(1)) == values[:, :, :1]).all(), "two dimensions are one channel"


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("method", [None, "lzw", "deflate", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_tiff_is_read_together_and_in_planes(planes: str, method: str | None, kind: str) -> None:
    values = many(kind, 33, 40)
    expected = pixels(npy(values))
    predictor = method in ("lzw", "deflate")
    stored = values if planes == "contig" else np.moveaxis(values, 2, 0)
    for options in ({"rowsperstrip": 7}, {"tile": (16, 16)}, {"byteorder": ">"}, {"bigtiff": True}):
        content = multiband(stored, planarconfig=planes, compression=method, predictor=predictor, **options)
        assert (pixels(content) == expected).all(), options


def test_tiff_by_another_writer_is_read_too() -> None:
    """Written byte by byte: together, in planes, big-endian, deflated, and turned."""
    values = many("u2")
    expected = pixels(npy(values))
    for options in ({}, {"planar": True}, {"order": ">"}, {"compression": (259, 3, [8])}):
        assert (pixels(tiff(values, **options)) == expected).all(), options  # type: ignore[arg-type]
    for way, turned in ((3, expected[::-1, ::-1]), (6, np.rot90(expected, -1)), (8, np.rot90(expected))):
        assert (pixels(tiff(values, orientation=(274, 3, [way]))) == turned).all(), way


def test_turned_tiff_is_turned_as_pillow_turns_it() -> None:
    values = many(channels=3)
    for way in range(1, 9):
        content = tiff(values, photometric=2, orientation=(274, 3, [way]))
        assert (pixels(content, Bands(3)) == decode_bytes(content).pixels).all(), way


def test_pages_are_channels_where_there_are_as_many() -> None:
    values = many("u2")
    stack = multiband(np.moveaxis(values, 2, 0), planarconfig=None)
    with tifffile.TiffFile(BytesIO(stack)) as file:
        assert len(file.pages) == 5
    assert (pixels(stack) == pixels(npy(values))).all()


def test_smaller_copies_of_a_page_are_no_images() -> None:
    """A cloud-optimised GeoTIFF keeps them behind the image."""
    values = many("u2", 32, 32)
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as file:
        options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
        file.write(values, **options)
        file.write(values[::2, ::2], subfiletype=1, **options)
    assert (pixels(stream.getvalue()) == pixels(npy(values))).all()


def test_a_range_of_values_becomes_0_to_255() -> None:
    reflectance = Bands(2, (0, 10_000))
    values = np.array([[[0, 5000], [10_000, 12_000]]], dtype=np.uint16)
    assert pixels(npy(values), reflectance).ravel().tolist() == [0, 128, 255, 255]
    assert pixels(multiband(values), reflectance).ravel().tolist() == [0, 128, 255, 255]
    celsius = Bands(1, (-20, 60))
    for kind in ("i2", "i4", "f4"):
        assert pixels(npy(np.array([[-40, -20, 20, 60]], dtype=kind)), celsius).ravel().tolist() == [0, 0, 128, 255]


def test_ordinary_files_are_read_as_ever_and_alpha_where_it_is_counted() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    png = saved(colour, "PNG")
    assert (pixels(png, Bands(4)) == colour).all()
    grey = saved(colour[:, :, 0], "PNG")
    assert (pixels(grey, Bands(1)) == decode_bytes(grey).pixels).all()
    with pytest.raises(DamagedImage, match=r"another number of channels \(1, and data.channels is 3\)"):
        pixels(grey, Bands(3))


def test_each_channel_is_resized_like_a_grey_image() -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 5), dtype=np.uint8)
    for fit in ("center", "squash", "border"):
        found = resize(values, 16, fit)
        assert found.shape == (16, 16, 5)
        for channel in range(5):
            assert (found[:, :, channel] == resize(values[:, :, channel : channel + 1], 16, fit)[:, :, 0]).all()
        assert (resize(values[:, :, :3], 16, fit) == found[:, :, :3]).all(), "as one of three channels is"


class _Hostile:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def _swollen() -> bytes:
    """A deflated strip of 256 MB where the header says 6 x 9 x 5 bytes."""
    large = zlib.compress(bytes(256 << 20), 1)
    content = bytearray(tiff(many(), compression=(259, 3, [8])))
    start = len(content)
    content += large
    for tag, value in ((273, start), (279, len(large))):
        entry = content.index(struct.pack("<HHI", tag, 4, 1))
        content[entry + 8 : entry + 12] = struct.pack("<I", value)
    return bytes(content)


HOSTILE = {
    "pickle": (lambda: npy(np.array([_Hostile()], dtype=object), allow_pickle=True), "Python objects, which could run"),
    "fields": (lambda: npy(np.zeros((4, 4), dtype=[("a", "u1"), ("b", "f4")])), "a NumPy array of named fields"),
    "complex": (lambda: npy(np.zeros((4, 4, 5), dtype=np.complex64)), "a NumPy array of the kind complex64"),
    "text": (lambda: npy(np.array([["a", "b"]])), "a NumPy array of the kind <U1"),
    "bool": (lambda: npy(np.zeros((4, 4, 5), dtype=bool)), "a NumPy array of the kind bool"),
    "10^12 pixels": (lambda: header("'|u1'", "(1000000, 1000000, 5)"), "more than 179 million values"),
    "10^12 of Fortran": (lambda: header("'|u1'", "(1000000, 1000000, 5)", fortran=True), "more than 179 million"),
    "truncated": (lambda: npy(many())[:-1], "it ends before its values do"),
    "header cut": (lambda: npy(many())[:30], r"truncated or damaged \(NumPy array: "),
    "header of code": (lambda: header("__import__('os')", "(1,)"), r"truncated or damaged \(NumPy array: "),
    "long header": (lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 10**6) + b" " * 10**6, "truncated or damaged"),
    "version": (lambda: header("'|u1'", "(4, 4, 5)", version=9), "truncated or damaged"),
    "version of fields": (lambda: header("'|u1'", "(4, 4, 5)", version=3), "named fields"),
    "negative": (lambda: header("'|u1'", "(-4, -4, 5)") + bytes(80), "holds no image"),
    "no size": (lambda: npy(np.zeros((0, 4, 5), dtype=np.uint8)), r"an array of the shape \(0, 4, 5\) holds no image"),
    "one number": (lambda: npy(np.uint8(3)), r"an array of the shape \(\) holds no image"),
    "a batch": (lambda: npy(np.zeros((2, 4, 4, 5), dtype=np.uint8)), "an array of 4 dimensions"),
    "17 channels": (lambda: npy(np.zeros((20, 20, 17), dtype=np.uint8)), r"\(17, and data.channels is 5\)"),
    "NaN": (lambda: npy(np.full((4, 4, 5), np.nan, dtype=np.float32)), "NaN in channel 1"),
    "infinity": (lambda: npy(np.full((4, 4, 5), np.inf, dtype=np.float32)), "infinity in channel 1"),
    "floats of 8 bits": (
        lambda: npy(many().astype(np.float32)),
        r"floats from 0 to \d+, not 0 to 1; set data.value_range",
    ),
    "signed": (lambda: npy(many("i2")), "signed whole numbers of 16 bits have no scale; set data.value_range"),
    "64 bits": (lambda: npy(many("u8")), "whole numbers of 64 bits have no scale"),
    "TIFF, NaN": (lambda: multiband(np.full((4, 4, 5), np.nan, dtype=np.float32)), "NaN in channel 1"),
    "TIFF, complex": (lambda: multiband(np.zeros((4, 4, 5), dtype=np.complex64)), "no plain numbers"),
    "TIFF, pages": (lambda: multiband(np.zeros((7, 8, 8), dtype=np.uint8), planarconfig=None), "TIFF of 7 pages of 1 "),
    "TIFF, pages of bands": (
        lambda: multiband(np.zeros((2, 8, 8, 5), dtype=np.uint8)),
        "TIFF of 2 pages of 5 channels",
    ),
    "TIFF, many pages": (lambda: multiband(np.zeros((80, 8, 8), np.uint8), planarconfig=None), "of more than 64 pages"),
    "TIFF, 17 bands": (lambda: multiband(np.zeros((8, 8, 17), dtype=np.uint8)), r"\(17, and data.channels is 5\)"),
    "TIFF, cut": (lambda: tiff(many())[:-60], "truncated or damaged"),
    "TIFF, JPEG": (lambda: multiband(np.zeros((16, 16, 3), np.uint8), compression="jpeg"), "compressed by JPEG"),
    "TIFF, wide": (
        lambda: tiff(many(), width=(256, 4, [1 << 30]), height=(257, 4, [1 << 30])),
        "more than 179 million values",
    ),
    "TIFF, swollen": (_swollen, "truncated or damaged"),
    "TIFF, strips elsewhere": (lambda: tiff(many(), strips=(273, 4, [1 << 31])), "it ends before its pixels"),
    "TIFF, no strip": (lambda: tiff(many(), strips=(279, 4, [0])), "it ends before its pixels"),
    "HTML": (lambda: b"<!doctype html><p>not found", "an HTML page"),
    "empty": (lambda: b"", "zero bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(name: str) -> None:
    make, words = HOSTILE[name]
    content = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedImage, match=words):
            decode_bytes(content, bands=FIVE)


def prepared(directory: Path, data: Data) -> Store:
    directory.mkdir()
    make_manifest(data, directory, 1)
    prepare_images(directory, 16, 1, data.on_disk)
    return Store.open(directory, 16)


def test_folder_table_shards_and_formats_give_the_same_pixels(tmp_path: Path) -> None:
    """Whatever holds the arrays, and decoded once or at each access."""
    folder, other = tmp_path / "arrays", tmp_path / "tiff"
    draw_bands(folder, 10)
    draw_bands(other, 10, suffix=".tif")
    write_tar(folder, tmp_path / "shards")
    sources = {
        "folder": Data(source=str(folder), channels=5),
        "tiff": Data(source=str(other), channels=5),
        "table": Data(source=str(write_csv(folder, folder / "t.csv")), channels=5),
        "tar": Data(source=str(tmp_path / "shards"), channels=5, on_disk="never"),
        "parquet": Data(source=str(write_parquet(folder, tmp_path / "hub")), channels=5),
    }
    stores = {name: prepared(tmp_path / f"data-{name}", data) for name, data in sources.items()}
    first = stores["folder"].split("train")
    assert first.pixels.shape[1:] == (16, 16, 5)
    mean = np.asarray(first.pixels, dtype=np.float64).mean(axis=(0, 1, 2)) / 255
    assert stores["folder"].mean == pytest.approx(mean.tolist())
    assert len(stores["folder"].std) == 5

    def by_name(store: Store) -> dict[str, bytes]:
        parts = [store.split(split) for split in store.splits]
        return {
            name.rpartition(".")[0]: np.asarray(pixels).tobytes()
            for part in parts
            for name, pixels in zip(part.names, part.pixels, strict=True)
        }

    expected = by_name(stores["folder"])
    for name, store in stores.items():
        assert by_name(store) == expected, name
        store.verify()
    assert isinstance(stores["tar"].split("train").pixels, OnDemand)


def test_arrays_are_images_only_where_their_channels_are_named(tmp_path: Path) -> None:
    """Embeddings beside photos stay what they were: no images, and nothing in the identity changes by them."""
    draw_bands(tmp_path / "all", 3)
    with pytest.raises(ResomapError, match=r"and \.npy where data.channels says"):
        make_manifest(Data(source=str(tmp_path / "all")), tmp_path, 1)
    for label in ("dry", "wet"):
        for number in range(4):
            grey = np.full((20, 20), 40 * number + 90 * (label == "wet"), dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / "all" / label / f"{number}.png")
    manifest = make_manifest(Data(source=str(tmp_path / "all"), problems="skip"), tmp_path, 1)
    assert {Path(entry.name).suffix for entry in manifest.entries} == {".png"}
    assert manifest.bands is None
    report = (tmp_path / "check.md").read_text()
    assert "not an image by its suffix and content" in report


def test_tiff_of_many_bands_names_the_key_that_reads_it() -> None:
    content = multiband(many("u2"))
    with pytest.raises(DamagedImage, match=r"TIFF of 5 bands of 16-bit whole numbers; data\.channels: 5 reads them"):
        decode_bytes(content)
    assert pixels(content).shape == (6, 9, 5)


def test_mixed_numbers_of_channels_are_one_sentence_that_names_two_files(tmp_path: Path) -> None:
    draw_bands(tmp_path / "images", 4)
    np.save(tmp_path / "images/wet/odd.npy", np.zeros((24, 24, 4), dtype=np.uint8))
    data = Data(source=str(tmp_path / "images"), channels=5)
    with pytest.raises(PermanentFailure) as caught:
        make_manifest(data, tmp_path, 1)
    sentence = "the images have different numbers of channels: dry/000.npy has 5 and wet/odd.npy has 4; "
    assert str(caught.value).startswith(sentence)
    kept = make_manifest(data.model_copy(update={"problems": "skip"}), tmp_path, 1)
    assert len(kept.entries) == 8
    with pytest.raises(
        PermanentFailure, match=r"no image has the 6 channels that data\.channels says: dry/000\.npy has 5;"
    ):
        make_manifest(Data(source=str(tmp_path / "images"), channels=6), tmp_path, 1)


def test_channels_and_range_are_part_of_the_identity_and_the_defaults_are_not(tmp_path: Path) -> None:
    draw_bands(tmp_path, 2)
    images = str(tmp_path)
    found = [
        describe(Data(source=images, **given)).identity
        for given in ({"channels": 5}, {"channels": 4}, {"channels": 5, "value_range": [0, 100]})
    ]
    assert len(set(found)) == 3
    assert describe(Data(source=images, channels=5)).channels == 5
    assert "channels" not in hashed(Data(), "data")
    assert "value_range" not in hashed(Data(), "data")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": {"channels": 17}}, "data.channels is 17, and must be at most 16"),
        ({"data": {"channels": 0}}, "data.channels is 0, and must be at least 1"),
        ({"data": {"value_range": [0, 1]}}, "value_range needs channels"),
        ({"data": {"channels": 5, "value_range": [1, 0]}}, "must have a lower end first"),
        ({"data": {"channels": 5, "value_range": [1, 2, 3]}}, "must be two numbers"),
        ({"data": {"channels": 5}, "training": {"augment": {"hue": 0.1}}}, "training.augment.hue is of grey or colour"),
        (
            {"data": {"channels": 5}, "overrides": {"vgg11": {"augment": {"policy": "trivialaugment"}}}},
            "overrides.vgg11.augment.policy is of grey or colour",
        ),
    ],
)
def test_what_does_not_fit_many_channels_is_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ResomapError, match=words):
        parse_config(given)


def test_grey_and_colour_keep_their_changes_of_colour() -> None:
    augment = {"augment": {"hue": 0.1, "policy": "randaugment", "saturation": 0.2}}
    for channels in (None, 1, 3):
        parse_config({"data": {"channels": channels}, "training": augment})
    assert parse_config({"data": {"channels": "5", "value_range": "0,100"}}).data.value_range == (0, 100)


def test_without_its_packages_tiff_is_refused_with_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_bands, "reads_bands", lambda: False)
    with pytest.raises(DamagedImage, match="read after `pip install tifffile imagecodecs`"):
        pixels(multiband(many()))
    assert pixels(npy(many())).shape == (6, 9, 5), "arrays need neither"
