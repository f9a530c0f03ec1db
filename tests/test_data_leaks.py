"""Leaks between splits and classes: one content in other modes, two labels of one content, near-duplicates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image
from test_data_blocks import united
from test_data_manifest import made, picture, report_on, splits_of, to_split, with_splits

from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure
from resomap.data.identity import data_identity
from resomap.data.near_duplicates import LARGEST_GROUP, find_near_duplicates
from resomap.data.sketch import ORIENTATIONS, Sketch, oriented, perceptual_hash, sketch

OF_TWO_CLASSES = "images whose content is of another class too"
ACROSS_SPLITS = "images whose content is in another split too"


def photo(seed: int, width: int = 96, height: int = 72, channels: int = 3) -> Image.Image:
    """A picture as a camera makes them: large and small shapes in colour, a little noise."""
    random = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(random.normal(0, 255, (size, size, 3)).clip(0, 255).astype(np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            dtype=np.float64,
        )
        for size in (3, 8, 20)
    ]
    pixels = (0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2] + random.normal(0, 3, layers[0].shape)).clip(0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    return image if channels == 3 else image.convert("L")


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def photos(root: Path, each: int = 12) -> Path:
    """Class folders a and b of distinct photos, to be split; b begins at seed 100."""
    for label, first in (("a", 0), ("b", 100)):
        for number in range(each):
            saved(root / label / f"{number:03}.png", photo(first + number))
    return root


def test_a_grey_picture_is_one_content_in_every_mode(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    grey = Image.fromarray(np.random.default_rng(500).integers(0, 256, (12, 16), dtype=np.uint8))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    forms = {
        "L.png": grey,
        "RGB.png": grey.convert("RGB"),
        "RGBA.png": grey.convert("RGBA"),
        "P.png": grey.convert("P"),
    }
    forms |= {"LA.png": grey.convert("LA"), "deep.png": deep, "RGB.tif": grey.convert("RGB")}
    for name, image in forms.items():
        saved(root / "train/cat" / name, image)
    saved(root / "test/cat/rgb.bmp", grey.convert("RGB"))
    with pytest.raises(PermanentFailure, match=f"7 {ACROSS_SPLITS}"):
        made(root)
    assert report_on(root)[1] == {ACROSS_SPLITS: sorted(f"train/cat/{name}" for name in forms)}
    coloured = grey.convert("RGB")
    coloured.putpixel((0, 0), (255, 0, 0))
    saved(root / "test/cat/rgb.bmp", coloured)
    assert "test/cat/rgb.bmp" in splits_of(made(root))


@pytest.mark.parametrize("splits_are_given", [True, False])
def test_two_labels_of_one_content_are_a_problem(tmp_path: Path, splits_are_given: bool) -> None:
    if splits_are_given:
        root = with_splits(tmp_path / "images")
        torn = [
            picture(root / name, seed=500) for name in ("test/dog/odd.bmp", "train/cat/one.png", "train/cat/two.png")
        ]
    else:
        root = to_split(tmp_path / "images", cat=20, dog=20)
        torn = [picture(root / name, seed=500) for name in ("cat/one.png", "cat/two.bmp", "dog/odd.png")]
    names = [path.relative_to(root).as_posix() for path in torn]
    with pytest.raises(PermanentFailure, match=f"3 {OF_TWO_CLASSES}"):
        made(root)
    text, kinds = report_on(root)
    assert kinds == {OF_TWO_CLASSES: names}
    odd = next(name for name in names if "odd" in name)
    assert f"`{names[1] if names[1] != odd else names[0]}`: as {odd}, of the class dog" in text
    assert not set(names) & splits_of(made(root, problems="skip")).keys()


def jpeg(quality: int) -> Callable[[Image.Image, Path], Path]:
    return lambda image, path: saved(path.with_suffix(".jpg"), image, quality=quality)


VARIANTS: dict[str, Callable[[Image.Image, Path], Path]] = {
    "JPEG of quality 75": jpeg(75),
    "JPEG of quality 40": jpeg(40),
    "half the size": lambda image, path: saved(path, image.resize((image.width // 2, image.height // 2))),
    "twice the size, JPEG": lambda image, path: jpeg(85)(image.resize((image.width * 2, image.height * 2)), path),
    "squashed to a square": lambda image, path: saved(path, image.resize((64, 64))),
    "mirrored": lambda image, path: saved(path, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "upside down, JPEG": lambda image, path: jpeg(80)(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), path),
    "turned right, smaller": lambda image, path: saved(
        path, image.transpose(Image.Transpose.ROTATE_270).resize((image.height * 3 // 4, image.width * 3 // 4))
    ),
    "turned left": lambda image, path: saved(path, image.transpose(Image.Transpose.ROTATE_90)),
    "turned and mirrored": lambda image, path: saved(path, image.transpose(Image.Transpose.TRANSVERSE)),
    "in grey": lambda image, path: saved(path, image.convert("L")),
}


def test_near_duplicates_in_given_splits_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "images"
    seed, expected = 0, []
    for split, number in (("train", 8), ("val", 4), ("test", 4)):
        for label in ("cat", "dog"):
            for i in range(number):
                seed += 1
                saved(root / split / label / f"{i}.png", photo(seed))
    alone = made(root)
    assert "straddle" not in capsys.readouterr().out
    for number, (kind, save) in enumerate(VARIANTS.items()):
        original = photo(1000 + number)
        saved(root / f"train/cat/photo{number}.png", original)
        other = save(original, root / f"test/cat/{kind.replace(' ', '-')}.png")
        expected.append({f"train/cat/photo{number}.png", other.relative_to(root).as_posix()})
    # One photo under two labels, and a pair within one split, which is no leak.
    saved(root / "test/dog/pair.jpg", photo(1), quality=80)
    expected.append({"train/cat/0.png", "test/dog/pair.jpg"})
    saved(root / "train/dog/pair.jpg", photo(9), quality=80)
    manifest = made(root)
    said = capsys.readouterr().out
    text, kinds = report_on(root)
    assert kinds == {}, "they are named, and stop nothing"
    assert len(manifest.entries) == len(alone.entries) + 2 * len(VARIANTS) + 2
    found = json.loads((tmp_path / "data/check.json").read_text())["near_duplicates"]
    assert sorted(map(sorted, found["straddling"])) == sorted(map(sorted, expected))
    assert found["confirmed"] == len(expected) + 1
    assert f"{len(expected)} pairs of near-duplicates straddle the splits, such as " in said
    assert f"{tmp_path / 'data/check.md'} names them; remove one of each" in said
    assert "`test/dog/pair.jpg` (test) and `train/cat/0.png` (train), of different classes" in text
    assert f"{len(expected)} pairs are in two splits" in text


def test_together_keeps_them_on_one_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = photos(tmp_path / "images", each=16)
    for number in range(16):
        saved(root / f"a/{number:03}-again.jpg", photo(number).resize((72, 54)), quality=80)
    pairs = [(f"a/{number:03}.png", f"a/{number:03}-again.jpg") for number in range(16)]
    torn = 0
    for seed in range(3):
        splits = splits_of(made(root, split_seed=seed))
        torn += sum(splits[one] != splits[other] for one, other in pairs)
        said = capsys.readouterr().out
        assert "`data: {near_duplicates: together}` keeps them on one side" in said
        manifest = made(root, split_seed=seed, near_duplicates="together")
        splits = splits_of(manifest)
        assert all(splits[one] == splits[other] for one, other in pairs)
        assert united(manifest) == [{other, one} for one, other in pairs]
        assert "straddle" not in capsys.readouterr().out
    assert torn
    assert united(made(root)) == []


def test_the_default_changes_no_identity_and_together_only_where_the_split_is_made_here(tmp_path: Path) -> None:
    here, given = tmp_path / "here", tmp_path / "given"
    for path in (
        *(here / "cat" / name for name in "abc"),
        *(given / split / "cat/a" for split in ("train", "val", "test")),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".png").write_bytes(b"x" * 99)

    def identity(source: Path, **values: Any) -> str:
        return data_identity(Data(source=str(source), **values))

    # As the version gave it that had no such key.
    assert identity(here) == "7a27114dd6b197f8af1e16a9ec23bec4ce0165b99886c8a1284ce55b94240b8d"
    assert identity(here, near_duplicates="report") == identity(here)
    assert identity(here, near_duplicates="together") != identity(here)
    assert identity(given, near_duplicates="together") == identity(given)


def test_pictures_of_one_scene_or_shape_are_no_near_duplicates(tmp_path: Path) -> None:
    """Other colours, one small defect, another exposure of a flat picture: what tells classes apart."""
    base = np.asarray(photo(7, 64, 64))
    red, blue = base.copy(), base[:, :, ::-1].copy()
    spot = base.copy()
    spot[20:44, 20:44] = 255 - spot[20:44, 20:44]
    flat = [np.full((64, 64, 3), value, np.uint8) for value in (40, 42, 200)]
    sketches = {str(i): sketch(pixels) for i, pixels in enumerate([red, blue, spot, *flat])}
    assert find_near_duplicates(sketches).pairs == []


def mixed(one: int, other: int, share: float) -> Sketch:
    """A picture between two."""
    pixels = (1 - share) * np.asarray(photo(one, 64, 64), float) + share * np.asarray(photo(other, 64, 64), float)
    return sketch(pixels.round().astype(np.uint8))


def test_groups_are_not_chained() -> None:
    """Each step from one photo to another is a near-duplicate of its neighbours; the ends are not of one group."""
    steps = {f"{number:02}": mixed(1, 2, number / 48) for number in range(49)}
    found = find_near_duplicates(steps)
    near = {frozenset(pair) for pair in found.pairs}
    assert all(frozenset((f"{number:02}", f"{number + 1:02}")) in near for number in range(48)), "one chain"
    assert frozenset(("00", "48")) not in near
    assert len(set(found.centre_of.values())) > 1
    assert all(name == centre or frozenset((name, centre)) in near for name, centre in found.centre_of.items())


def test_a_camera_that_stands_still_makes_no_group() -> None:
    still = np.asarray(photo(3, 64, 64)).astype(int)
    random = np.random.default_rng(0)
    frames = {
        f"still{i:03}": sketch((still + random.integers(-1, 2, still.shape)).clip(0, 255).astype(np.uint8))
        for i in range(LARGEST_GROUP + 5)
    }
    others = {f"other{i:03}": sketch(np.asarray(photo(200 + i, 64, 64))) for i in range(10)}
    found = find_near_duplicates(frames | others)
    assert found.centre_of == {}
    assert found.lookalikes == len(frames)
    few = dict(list(frames.items())[:LARGEST_GROUP])
    assert set(find_near_duplicates(few | others).centre_of) == set(few)


def test_the_order_of_the_images_is_of_no_account() -> None:
    sketches = {
        f"{number}": sketch(np.asarray(photo(number // 3).rotate(90 * (number % 3), expand=True)))
        for number in range(24)
    }
    found = find_near_duplicates(sketches)
    assert len(found.pairs) == 24
    assert find_near_duplicates(dict(reversed(sketches.items()))) == found


def test_every_orientation_is_a_turn_or_a_mirror_image() -> None:
    pixels = np.arange(9).reshape(3, 3)
    turned = [oriented(pixels, way) for way in range(ORIENTATIONS)]
    assert len({one.tobytes() for one in turned}) == ORIENTATIONS
    for way, one in enumerate(turned):
        assert (oriented(one, {5: 6, 6: 5}.get(way, way)) == pixels).all()


def test_the_hash_is_that_of_imagehash_to_the_bit() -> None:
    random = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    noise = [random.integers(0, 256, (64, 64), dtype=np.uint8) for _ in range(50)]
    for grey in (ramp, np.zeros_like(ramp), *noise, *(np.minimum(ramp, one) for one in noise)):
        assert (perceptual_hash(grey) == imagehash.phash(Image.fromarray(grey), 16).hash).all()
