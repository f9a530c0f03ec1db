"""Bundled data source (ELPV): its classes, its split, and that groups work on it too."""

import csv
import re
from collections import Counter
from pathlib import Path

from resomap.config.schema import Data, Split
from resomap.data.inspection import Seen
from resomap.data.manifest import Manifest, make_manifest
from resomap.data.selection import select
from resomap.data.source import read_source


def unopened(data: Data) -> dict[str, str]:
    """{name: split} without decoding 2,624 images again: each stands for a content of its own."""
    source = read_source(data)
    seen = {item.name: Seen(item.name, content=item.name) for item in source.items}
    return {image.item.name: image.split for image in select(source, seen, data).chosen}


def test_the_whole_source(tmp_path: Path) -> None:
    manifest = make_manifest(Data(), tmp_path, 2)
    per_class = Counter(manifest.classes[entry.label] for entry in manifest.entries)
    assert per_class == {"functional": 1803, "defective": 821}
    assert manifest.counts == {
        "train": {"defective": 575, "functional": 1262},
        "val": {"defective": 123, "functional": 271},
        "test": {"defective": 123, "functional": 270},
    }
    assert manifest.channels == 1
    assert manifest.native_size == {"median": 300, "min": 300, "max": 300}
    assert manifest.licence is not None
    assert "CC BY-NC-SA 4.0" in manifest.licence
    assert Manifest.load(tmp_path) == manifest
    report = (tmp_path / "check.md").read_text()
    assert "| functional | 1,262 | 271 | 270 | 1,803 | 68.7% |" in report
    assert {entry.name: entry.split for entry in manifest.entries} == unopened(Data())
    # Cells of one module look alike to a hash; no two are one picture.
    assert re.search(r"1,\d{3} pairs of images have similar hashes\. Their pixels confirm 0 as", report)


def test_each_material_has_its_share_in_each_split() -> None:
    source = read_source(Data())
    split_of = unopened(Data())
    size = Counter(item.stratum for item in source.items)
    assert size == {
        "functional/mono": 705,
        "functional/poly": 1098,
        "defective/mono": 369,
        "defective/poly": 452,
    }
    held = Counter((split_of[item.name], item.stratum) for item in source.items)
    for split, share in {"train": 0.7, "val": 0.15, "test": 0.15}.items():
        assert all(abs(held[split, stratum] - number * share) < 1 for stratum, number in size.items())


def test_seed_and_shares_move_images() -> None:
    first = unopened(Data())
    other = unopened(Data(split_seed=1))
    assert unopened(Data(split_seed=0)) == first
    assert sum(first[name] != other[name] for name in first) > 500
    halves = Counter(unopened(Data(split=Split(train=0.5, val=0.25, test=0.25))).values())
    assert halves == {"train": 1312, "val": 656, "test": 656}


def test_groups_of_modules(tmp_path: Path) -> None:
    names = [item.name for item in read_source(Data()).items]
    module_of = {name: f"module{number // 24}" for number, name in enumerate(names)}
    with (tmp_path / "groups.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "group"), *module_of.items()])
    split_of = unopened(Data(groups=str(tmp_path / "groups.csv")))
    assert len({(module_of[name], split) for name, split in split_of.items()}) == len(set(module_of.values()))
    shares = Counter(split_of.values())
    assert abs(shares["train"] / len(names) - 0.7) < 0.02
    assert abs(shares["test"] / len(names) - 0.15) < 0.02
