"""A folder of images becomes a manifest and a report; every defect is named, and stops or is left out."""

import json
import operator
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data.manifest import Manifest, make_manifest
from resomap.data.pool import in_order


def picture(path: Path, seed: int, side: int = 12, channels: int = 3) -> Path:
    """An image file of noise; the same seed and side make the same pixels."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side + 4, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise if channels == 3 else noise[:, :, 0]).save(path)
    return path


def to_split(root: Path, **sizes: int) -> Path:
    """Class folders of distinct images."""
    for number, (label, size) in enumerate(sizes.items()):
        for i in range(size):
            picture(root / label / f"{i:03d}.png", seed=1000 * number + i)
    return root


def with_splits(root: Path, train: str = "train", val: str | None = "val", test: str = "test") -> Path:
    """Fixed splits of cat and dog: 6 + 2 + 3 images each, all distinct."""
    seed = 0
    for split, size in ((train, 6), (val, 2), (test, 3)):
        for label in ("cat", "dog"):
            for i in range(size if split else 0):
                seed += 1
                picture(root / str(split) / label / f"{i}.png", seed)
    return root


def made(source: Path, workers: int = 1, **values: object) -> Manifest:
    return make_manifest(Data(source=str(source), **values), source.parent / "data", workers)


def report_on(source: Path) -> tuple[str, dict[str, list[str]]]:
    """check.md, and {kind of problem: names} of check.json."""
    directory = source.parent / "data"
    kinds: dict[str, list[str]] = {}
    for problem in json.loads((directory / "check.json").read_text())["problems"]:
        kinds.setdefault(problem["kind"], []).append(problem["name"])
    return (directory / "check.md").read_text(), kinds


def splits_of(manifest: Manifest) -> dict[str, str]:
    return {entry.name: entry.split for entry in manifest.entries}


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_fixed_splits_stay_as_they_are(tmp_path: Path, val: str) -> None:
    manifest = made(with_splits(tmp_path / "images", val=val))
    assert manifest.classes == ["cat", "dog"]
    assert manifest.counts == {s: {"cat": n, "dog": n} for s, n in (("train", 6), ("val", 2), ("test", 3))}
    assert splits_of(manifest)[f"{val}/dog/1.png"] == "val"
    assert manifest.native_size == {"median": 12, "min": 12, "max": 12}
    assert manifest.channels == 3


def test_without_val_it_is_taken_from_train_and_said(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images", val=None)
    manifest = made(root)
    assert manifest.counts["test"] == {"cat": 3, "dog": 3}
    assert manifest.counts["val"] == {"cat": 1, "dog": 1}
    assert "the validation split is taken from train/" in report_on(root)[0]
    others = [splits_of(made(root, split_seed=seed)) for seed in range(1, 6)]
    assert any(other != splits_of(manifest) for other in others)
    assert all(other["test/cat/0.png"] == "test" for other in others)


def test_class_folders_are_split_by_shares_and_seed(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=40, b=20)
    manifest = made(root)
    assert manifest.counts == {"train": {"a": 28, "b": 14}, "val": {"a": 6, "b": 3}, "test": {"a": 6, "b": 3}}
    assert splits_of(made(root)) == splits_of(manifest)
    assert splits_of(made(root, split_seed=1)) != splits_of(manifest)
    halves = made(root, split={"train": 0.5, "val": 0.25, "test": 0.25})
    assert halves.counts["train"] == {"a": 20, "b": 10}


def test_one_or_two_workers_make_the_same_manifest(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=20, b=20)
    one = made(root, workers=1)
    text = (tmp_path / "data/manifest.json").read_bytes()
    assert made(root, workers=2) == one
    assert (tmp_path / "data/manifest.json").read_bytes() == text
    assert Manifest.load(tmp_path / "data") == one


def test_the_content_digest_follows_bytes_split_and_class(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=20, b=20)
    first = made(root)
    assert made(root).content_digest == first.content_digest
    assert made(root, split_seed=1).content_digest != first.content_digest
    picture(root / "a/000.png", seed=5)
    second = made(root)
    assert second.content_digest != first.content_digest
    (root / "b").rename(root / "c")
    assert made(root).content_digest != second.content_digest


def test_grey_images_alone_have_one_channel(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for i in range(4):
            picture(tmp_path / f"images/{label}/{i}.png", seed=10 * ord(label) + i, channels=1)
    assert made(tmp_path / "images").channels == 1
    picture(tmp_path / "images/a/colour.png", seed=1)
    assert made(tmp_path / "images").channels == 3


def damaged(root: Path) -> Path:
    """One of each: zero bytes, truncated, no image, another type, a broken link."""
    to_split(root, a=12, b=12)
    (root / "a/empty.png").touch()
    whole = picture(root / "a/cut.png", seed=77, side=64).read_bytes()
    (root / "a/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "b/text.jpg").write_text("no image")
    (root / "b/clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (root / "b/gone.png").symlink_to(root / "nowhere.png")
    return root


def test_damaged_files_stop_after_the_report_is_written(tmp_path: Path) -> None:
    root = damaged(tmp_path / "images")
    with pytest.raises(PermanentFailure) as caught:
        made(root)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "1 zero bytes" in sentence
    assert "--config 'data={problems: skip}'" in sentence
    assert str(tmp_path / "data/check.md") in sentence
    assert not (tmp_path / "data/manifest.json").exists()
    text, kinds = report_on(root)
    assert kinds == {
        "zero bytes": ["a/empty.png"],
        "truncated or damaged": ["a/cut.png"],
        "not an image": ["b/text.jpg"],
        "unreadable": ["b/gone.png"],
        "files of another type": ["b/clip.mp4"],
    }
    assert all(f"`{name}`" in text for names in kinds.values() for name in names)
    assert "Problems: 5" in text


def test_damaged_files_are_left_out_with_skip(tmp_path: Path) -> None:
    root = damaged(tmp_path / "images")
    manifest = made(root, problems="skip", workers=2)
    assert Counter(entry.label for entry in manifest.entries) == {0: 12, 1: 12}
    assert "Problems: 5 (left out)" in report_on(root)[0]


def test_a_failed_check_leaves_no_older_manifest(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=12, b=12)
    made(root)
    (root / "a/empty.png").touch()
    with pytest.raises(PermanentFailure):
        made(root)
    with pytest.raises(ResomapError, match=r"manifest\.json is missing or damaged"):
        Manifest.load(tmp_path / "data")


def test_duplicates_across_fixed_splits(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    picture(root / "train/cat/twin.png", seed=500)
    picture(root / "val/cat/twin.png", seed=500)
    picture(root / "test/cat/twin.bmp", seed=500)  # the same pixels in another file format are a leak too
    picture(root / "train/dog/pair.png", seed=501)
    picture(root / "val/dog/pair.png", seed=501)
    with pytest.raises(PermanentFailure, match="3 images whose content is in another split too"):
        made(root)
    manifest = made(root, problems="skip")
    kept = [name for name in splits_of(manifest) if "twin" in name or "pair" in name]
    assert kept == ["test/cat/twin.bmp", "val/dog/pair.png"]
    text, kinds = report_on(root)
    assert kinds == {
        "images whose content is in another split too": [
            "train/cat/twin.png",
            "train/dog/pair.png",
            "val/cat/twin.png",
        ]
    }
    assert "`train/cat/twin.png`: as test/cat/twin.bmp" in text


def test_duplicates_within_one_split_are_a_note(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    picture(root / "train/cat/one.png", seed=500)
    picture(root / "train/cat/two.png", seed=500)
    manifest = made(root)
    assert manifest.counts["train"] == {"cat": 8, "dog": 6}
    text, _ = report_on(root)
    assert "Same content more than once within a split: 1" in text
    assert "`train/cat/one.png = train/cat/two.png`" in text


def test_duplicates_are_never_torn_apart_by_a_split_made_here(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=30, b=30)
    for i in range(30):
        picture(root / f"b/copy{i:03d}.bmp", seed=1000 + i)
    for seed in range(3):
        splits = splits_of(made(root, split_seed=seed))
        assert all(splits[f"b/{i:03d}.png"] == splits[f"b/copy{i:03d}.bmp"] for i in range(30))


def test_groups_stay_together_and_are_checked(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=30, b=30)
    groups = tmp_path / "groups.csv"
    rows = [f"{label}/{i:03d}.png,patient{i // 5}" for label in "ab" for i in range(29)]
    groups.write_text("\n".join(["path,group", *rows, "a/unknown.png,patient9"]) + "\n")
    for seed in range(3):
        splits = splits_of(made(root, groups=str(groups), split_seed=seed, ungrouped="alone"))
        for patient in range(6):
            inside = range(5 * patient, min(29, 5 * patient + 5))
            assert len({splits[f"{label}/{i:03d}.png"] for label in "ab" for i in inside}) == 1
    text, _ = report_on(root)
    assert "2 images are not in the groups file" in text
    assert "1 lines of the groups file name no image" in text


def test_groups_across_fixed_splits(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    groups = tmp_path / "groups.csv"
    groups.write_text("path,group\ntrain/cat/0.png,p1\ntrain/cat/1.png,p1\ntest/cat/0.png,p1\n")
    with pytest.raises(PermanentFailure, match="2 images whose group is in another split too"):
        made(root, groups=str(groups))
    names = splits_of(made(root, groups=str(groups), problems="skip"))
    assert "test/cat/0.png" in names
    assert not {"train/cat/0.png", "train/cat/1.png"} & names.keys()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("file,group\na/000.png,p\n", "lacks the column path"),
        ("path,group\na/000.png,\n", "line 2 needs a path and a group"),
        ("path,group\na/000.png,p\na/000.png,q\n", "into two groups"),
        ("path,group\nelsewhere/000.png,p\n", "names none of the images"),
    ],
)
def test_groups_files_that_do_not_fit_are_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    root = to_split(tmp_path / "images", a=4, b=4)
    (tmp_path / "groups.csv").write_text(content)
    with pytest.raises(ResomapError, match=sentence):
        made(root, groups=str(tmp_path / "groups.csv"))


def test_classes_that_do_not_match_between_splits(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    picture(root / "test/bird/0.png", seed=900)
    picture(root / "train/fish/0.png", seed=901)
    (root / "train/snake").mkdir()
    with pytest.raises(PermanentFailure, match="1 classes that the training split lacks"):
        made(root)
    _, kinds = report_on(root)
    assert kinds == {
        "classes that the training split lacks": ["bird"],
        "classes that the validation or test split lacks": ["fish"],
        "classes without a usable image": ["snake"],
    }
    manifest = made(root, problems="skip")
    assert manifest.classes == ["cat", "dog", "fish"]
    assert manifest.counts["test"] == {"cat": 3, "dog": 3, "fish": 0}
    assert "test/bird/0.png" not in splits_of(manifest)


@pytest.mark.parametrize("problems", ["error", "skip"])
def test_one_class_or_an_empty_split_stops_under_any_policy(tmp_path: Path, problems: str) -> None:
    one = to_split(tmp_path / "one/images", a=9)
    with pytest.raises(PermanentFailure, match="a classifier needs two classes"):
        made(one, problems=problems)
    few = to_split(tmp_path / "few/images", a=1, b=1)
    sentence = "validation or test split lacks" if problems == "error" else "split has no usable image"
    with pytest.raises(PermanentFailure, match=sentence):
        made(few, problems=problems)
    assert (tmp_path / "few/data/check.md").exists()


def test_what_lies_beside_the_classes_is_said(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    picture(root / "masks/cat/0.png", seed=1)
    picture(root / "train/overview.png", seed=2)
    assert len(made(root).entries) == 22
    text, _ = report_on(root)
    assert "`masks/`" in text
    assert "`train/overview.png`" in text


def test_dark_16_bit_images_are_pointed_out(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for i in range(4):
            path = tmp_path / f"images/{label}/{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.random.default_rng(10 * ord(label) + i).integers(0, 4096, (9, 9)).astype(np.uint16)
            Image.fromarray(values).save(path)
    made(tmp_path / "images")
    assert "8 images of 16 bits use less than an eighth" in report_on(tmp_path / "images")[0]


def test_names_that_are_not_utf8_are_no_obstacle(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=6, b=6)
    odd = Path(str(root / "a") + "/caf\udce9.png")
    (root / "a/000.png").rename(odd)
    manifest = made(root, workers=2)
    assert "a/caf\udce9.png" in splits_of(Manifest.load(tmp_path / "data"))
    odd.write_bytes(b"")
    with pytest.raises(PermanentFailure, match="zero bytes"):
        made(root)
    assert r"caf\xe9.png" in report_on(root)[0]
    assert len(manifest.entries) == 12


def test_workers_are_processes_and_results_keep_their_order() -> None:
    here = {os.getpid()}
    assert set(in_order(operator.call, [os.getpid] * 8, 1, "asked")) == here
    assert not here & set(in_order(operator.call, [os.getpid] * 8, 2, "asked"))
    assert list(in_order(abs, range(-300, 0), 2, "counted")) == list(range(300, 0, -1))


def test_a_killed_worker_is_one_sentence() -> None:
    with pytest.raises(ResomapError, match=r"was killed.*data=\{workers: 1\}"):
        list(in_order(os._exit, [9] * 4, 2, "killed"))
