"""Blocks: images that are not independent of each other carry one number, whatever seed the split had."""

import json
from pathlib import Path

import numpy as np
from test_data_manifest import made, picture, to_split, with_splits

from resomap.core.files import read_json, write_json
from resomap.data.image_blocks import block_indices
from resomap.data.manifest import Manifest


def united(manifest: Manifest) -> list[set[str]]:
    """The blocks of more than one image, by names."""
    blocks: dict[int, set[str]] = {}
    for entry, number in zip(manifest.entries, block_indices(manifest.entries), strict=True):
        blocks.setdefault(int(number), set()).add(entry.name)
    assert sorted(blocks) == list(range(len(blocks)))
    return [names for names in blocks.values() if len(names) > 1]


def test_groups_and_contents_are_united_across_each_other(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=12, b=12)
    picture(root / "b/copy.bmp", seed=1003)  # the content of b/003.png, which is of patient p
    (tmp_path / "groups.csv").write_text("path,group\nb/003.png,p\nb/004.png,p\na/000.png,q\n")
    groups = {"groups": str(tmp_path / "groups.csv")}
    manifest = made(root, **groups)
    assert united(manifest) == [{"b/copy.bmp", "b/003.png", "b/004.png"}]
    assert {entry.name: entry.group for entry in manifest.entries if entry.group} == {
        "b/003.png": "p",
        "b/004.png": "p",
        "a/000.png": "q",
    }
    stored = Manifest.load(tmp_path / "data")
    assert united(stored) == united(manifest)
    assert united(made(root, **groups, split_seed=1)) == united(manifest)


def test_blocks_of_given_splits_and_of_one_split_alone(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "images")
    picture(root / "test/cat/again.png", seed=500)
    picture(root / "test/cat/once.bmp", seed=500)
    manifest = made(root)
    assert united(manifest) == [{"test/cat/again.png", "test/cat/once.bmp"}]
    numbers = block_indices(manifest.of("test"))
    assert numbers.dtype == np.int64
    assert len(numbers) == 8
    assert len(set(numbers.tolist())) == 7
    assert len(block_indices([])) == 0


def test_a_manifest_of_an_earlier_version_is_read_and_its_copies_are_one_block(tmp_path: Path) -> None:
    root = to_split(tmp_path / "images", a=12, b=12)
    (root / "a/copy.png").write_bytes((root / "a/000.png").read_bytes())
    made(root)
    path = tmp_path / "data/manifest.json"
    content = read_json(path)
    del content["seal"]
    for entry in content["entries"]:
        del entry["group"], entry["block"]
    write_json(path, content)
    assert "block" not in json.dumps(content)
    assert united(Manifest.load(tmp_path / "data")) == [{"a/000.png", "a/copy.png"}]
