"""Verification of what decides the bits of a training: arrays, labels, means, and the list of images."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, command

from resomap.cells.study import Study
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import break_seal, sealed
from resomap.data import DATA_DIRECTORY, SPLITS
from resomap.data import verified_pixels as seal
from resomap.data.manifest import Manifest
from resomap.data.prepare import prepare_images
from resomap.data.store import Store
from resomap.planning.image_files import broken_file

STORE = DATA_DIRECTORY / "32" / "store.json"


@pytest.fixture(autouse=True)
def as_in_another_process() -> None:
    seal._verified.clear()


def flip(path: Path, offset: int = -1, bit: int = 1) -> None:
    """Flip one bit; size and time stay, as on a bad disk."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[offset] ^= bit
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change(path: Path, edit: Callable[[Any], object]) -> None:
    content = read_json(path)
    edit(content)
    write_json(path, content)


def as_earlier_versions_wrote(path: Path) -> None:
    """Take off what they did not have: seals, blocks."""

    def older(content: dict[str, Any]) -> None:
        del content["seal"]
        for part in content.get("splits", {}).values():
            del part["blocks"]

    change(path, older)


def label(content: dict[str, Any]) -> None:
    labels = content["splits"]["train"]["labels"]
    labels[3] = 1 - labels[3]


def mean(content: dict[str, Any]) -> None:
    content["mean"][0] += 1e-9


def digest(content: dict[str, Any]) -> None:
    content["content_digest"] = "0" * 64


def name(content: dict[str, Any]) -> None:
    names = content["splits"]["val"]["names"]
    names[0], names[1] = names[1], names[0]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("is_of_before", [False, True])
def test_one_flipped_bit_of_an_array_is_refused(study_in: Callable[..., Study], split: str, is_of_before: bool) -> None:
    study_in()
    if is_of_before:
        as_earlier_versions_wrote(STORE)
    Store.open(DATA_DIRECTORY, 32)
    seal._verified.clear()
    flip(STORE.with_name(f"{split}.npy"), -2000)
    with pytest.raises(ResomapError, match=rf"damaged {split}\.npy .* remove that folder and run the same snakemake"):
        Store.open(DATA_DIRECTORY, 32)
    others = tuple(other for other in SPLITS if other != split)
    assert Store.open(DATA_DIRECTORY, 32, others).split(others[0]).names


@pytest.mark.parametrize("edit", [label, mean, digest, name])
@pytest.mark.parametrize("on_disk", ["always", "never"])
@pytest.mark.parametrize("is_of_before", [False, True])
def test_a_changed_description_is_refused(
    study_in: Callable[..., Study], edit: Callable[[Any], object], on_disk: str, is_of_before: bool
) -> None:
    study_in(data={"on_disk": on_disk})
    if is_of_before:
        as_earlier_versions_wrote(STORE)
        Store.open(DATA_DIRECTORY, 32)
    change(STORE, edit)
    with pytest.raises(ResomapError, match=r"damaged store\.json|another list of images"):
        Store.open(DATA_DIRECTORY, 32)
    if not is_of_before:
        assert broken_file(STORE.parent, SPLITS) == STORE  # the plan prepares it anew
        prepare_images(DATA_DIRECTORY, 32, 1)
        assert broken_file(STORE.parent, SPLITS) is None


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"seal": 3}'])
def test_a_description_that_is_none_is_prepared_anew(study_in: Callable[..., Study], content: str) -> None:
    study_in()
    STORE.write_text(content)
    assert broken_file(STORE.parent, SPLITS) == STORE
    STORE.unlink()
    assert broken_file(STORE.parent, SPLITS) is None  # it is not there: Snakemake asks for it


def test_a_flipped_bit_anywhere_in_the_descriptions_is_seen(study_in: Callable[..., Study]) -> None:
    study_in(data={"on_disk": "never"})
    for path in (STORE, DATA_DIRECTORY / "manifest.json"):
        whole, chance = path.read_bytes(), np.random.default_rng(1)
        before = read_json(path)
        for offset in chance.integers(0, len(whole), 60).tolist():
            flip(path, offset, 1 << int(chance.integers(0, 7)))
            if read_json(path) != before:  # white space is nothing
                with pytest.raises(ResomapError, match="run the same snakemake command"):
                    Store.open(DATA_DIRECTORY, 32).split("train")
            path.write_bytes(whole)
        Store.open(DATA_DIRECTORY, 32)


def test_a_changed_label_in_the_list_of_images_is_refused(study_in: Callable[..., Study]) -> None:
    study_in()

    def other_label(content: Any) -> None:
        content["entries"][0]["label"] = 1 - content["entries"][0]["label"]

    change(DATA_DIRECTORY / "manifest.json", other_label)
    with pytest.raises(ResomapError, match=r"manifest\.json is missing or damaged; remove it"):
        prepare_images(DATA_DIRECTORY, 48, 1)
    with pytest.raises(ResomapError, match=r"manifest\.json is missing or damaged"):
        Store.open(DATA_DIRECTORY, 32).blocks("val")  # which images belong together


@pytest.mark.parametrize("key", ["label", "split", "sha256", "name"])
def test_a_list_of_images_without_a_seal_is_held_against_its_digest(study_in: Callable[..., Study], key: str) -> None:
    study_in()
    path = DATA_DIRECTORY / "manifest.json"
    change(path, lambda content: content.pop("seal"))
    assert Manifest.load(DATA_DIRECTORY).entries, "as earlier versions wrote it"
    first = read_json(path)["entries"][0]
    other_split = "val" if first["split"] == "test" else "test"
    other = {"label": 1 - first["label"], "split": other_split, "sha256": "0" * 64, "name": "across/another.png"}[key]
    change(path, lambda content: content["entries"][0].update({key: other}))
    with pytest.raises(ResomapError, match=r"manifest\.json is missing or damaged"):
        Manifest.load(DATA_DIRECTORY)


def test_large_arrays_are_verified_block_by_block_at_first_read(
    study_in: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    study_in()
    plain = np.array(Store.open(DATA_DIRECTORY, 32).split("train").pixels)
    monkeypatch.setattr(seal, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(seal, "BLOCK_BYTES", 5 * 32 * 32)
    prepare_images(DATA_DIRECTORY, 32, 1)
    pixels = Store.open(DATA_DIRECTORY, 32).split("train").pixels
    assert isinstance(pixels, seal.VerifiedPixels)
    assert pixels.shape == plain.shape
    for rows in (np.array([7, 0, 30]), slice(3, 9), 4, slice(len(plain), None), np.arange(len(plain))[::-1]):
        assert np.array_equal(pixels[rows], plain[rows])
    assert np.array_equal(np.array(list(pixels)), plain)
    flip(STORE.with_name("train.npy"), -1)
    pixels = Store.open(DATA_DIRECTORY, 32).split("train").pixels
    assert np.array_equal(pixels[:10], plain[:10])
    with pytest.raises(ResomapError, match=r"damaged train\.npy"):
        pixels[np.array([2, len(plain) - 3])]  # of the last block, though not the damaged image itself
    with pytest.raises(ResomapError, match=r"damaged train\.npy"):
        Store.open(DATA_DIRECTORY, 32).verify()


def test_images_decoded_on_demand_to_other_pixels_are_refused(study_in: Callable[..., Study]) -> None:
    """Another version of the decoder would do this: the file is the same, its pixels are not."""
    study_in(data={"on_disk": "never"})

    def other_pixels(content: dict[str, Any]) -> None:
        content["splits"]["train"]["blocks"]["digests"][2] = "0" * 64
        content["seal"] = sealed(content)["seal"]

    change(STORE, other_pixels)
    pixels = Store.open(DATA_DIRECTORY, 32).split("train").pixels
    assert pixels[:2].shape == (2, 32, 32, 1)
    for rows in (2, slice(0, 4), np.array([5, 2])):
        with pytest.raises(PermanentFailure, match=r"decoded to other pixels .* versions of Pillow"):
            pixels[rows]


def test_a_process_verifies_once(study_in: Callable[..., Study]) -> None:
    study_in()
    Store.open(DATA_DIRECTORY, 32)
    assert len(seal._verified) == len(SPLITS)
    path, status = STORE.with_name("val.npy"), STORE.with_name("val.npy").stat()
    flip(path)
    Store.open(DATA_DIRECTORY, 32)  # same inode, size and time: another process would see it
    os.utime(path, ns=(status.st_atime_ns, time.time_ns()))
    with pytest.raises(ResomapError, match=r"damaged val\.npy"):
        Store.open(DATA_DIRECTORY, 32)


def test_a_seal_outlives_a_rewrite_by_other_tools(tmp_path: Path) -> None:
    content = {"mean": [0.1, 1e-17, float("nan")], "names": ["caf\udce9.png", "ü"], "none": None}
    write_json(tmp_path / "sealed.json", sealed(content))
    (tmp_path / "sealed.json").write_text(json.dumps(json.loads((tmp_path / "sealed.json").read_text()), indent=7))
    read = read_json(tmp_path / "sealed.json")
    assert break_seal(read)
    assert read == {**content, "mean": [0.1, 1e-17, None]}
    assert not break_seal(read)
    with pytest.raises(ValueError, match="seal"):
        break_seal({**sealed(content), "none": 0})


def test_a_moved_source_keeps_the_seal(study_in: Callable[..., Study], images: Path, tmp_path: Path) -> None:
    from resomap.data.changes import follow_source

    study_in()
    follow_source(str(tmp_path / "elsewhere"), DATA_DIRECTORY)
    assert Manifest.load(DATA_DIRECTORY).source == str(tmp_path / "elsewhere")


def test_a_training_on_damaged_images_ends_before_its_first_step(study_in: Callable[..., Study]) -> None:
    study_in()
    flip(STORE.with_name("train.npy"))
    done = command("resomap", "train", f"{MODEL}@32", "--threads", "1", cwd=Path.cwd())
    assert done.returncode == 2
    assert "damaged train.npy (its content is not what was written); remove that folder" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(Path("checkpoints").rglob("*.pt"))
