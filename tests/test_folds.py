"""Folds: the names and fingerprints of their cells, the deal of the images, and what each fold's training sees."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, RESOLUTION, draw_images, make_study, small_config
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resomap.cells import archive
from resomap.cells.study import Study
from resomap.config.load import parse_config
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data import DATA_DIRECTORY
from resomap.data.folds import deal
from resomap.data.manifest import Manifest, make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.split import Member
from resomap.data.store import Store
from resomap.estimates.duration import Durations


@pytest.fixture
def study(images: Path) -> Study:
    return Study.open(small_config(images, seeds=[3, 0], data={"folds": 3}))


class TestNames:
    def test_the_first_fold_and_seed_have_no_suffix(self, study: Study) -> None:
        assert [str(cell.marker) for cell in study.cells()] == [
            f"results/{MODEL}/{RESOLUTION}{suffix}.done"
            for suffix in ("", ".fold2", ".fold3", ".seed0", ".fold2.seed0", ".fold3.seed0")
        ]
        below = study.cells()[0].checkpoints
        assert [str(cell.checkpoints.relative_to(below)) for cell in study.cells()] == [
            *(".", "fold2", "fold3", "seed0", "fold2/seed0", "fold3/seed0")
        ]

    @pytest.mark.parametrize("suffix", ["", ".fold2", ".seed0", ".fold3.seed0", ".fold2.seed11"])
    def test_a_name_and_a_target_are_the_same_cell(self, study: Study, suffix: str) -> None:
        cell = study.target(MODEL, "32", suffix)
        assert study.find(cell.name) == cell
        assert cell.name == f"{MODEL}@32{suffix}"

    @pytest.mark.parametrize(
        ("suffix", "sentence"),
        [
            (".fold1", "fold 1 is the first fold, whose marker has no suffix"),
            (".fold1.seed0", f"whose marker has no suffix: results/{MODEL}/32.seed0.done"),
            (".fold2.seed3", f"3 is the first seed, whose marker has no suffix: results/{MODEL}/32.fold2.done"),
            (".fold4", "names fold 4, and data.folds is 3; folds count from 1 to 3"),
            (".fold0", "names fold 0, and data.folds is 3"),
            (".fold02", "is no fold; write"),
            (".fold", "is no fold; write"),
            (".fold²", "is no fold; write"),
            (".folds2", "is no fold; write"),
            (".seed0.fold2", "is no seed or fold; write"),
        ],
    )
    def test_another_way_to_write_a_fold_is_one_sentence(self, study: Study, suffix: str, sentence: str) -> None:
        with pytest.raises(ResomapError, match=sentence):
            study.target(MODEL, "32", suffix)

    def test_a_fold_of_a_study_without_folds_is_one_sentence(self, images: Path) -> None:
        with pytest.raises(ResomapError, match=r"names fold 2, and this study has no folds; set `data: \{folds: K\}`"):
            Study.open(small_config(images)).find(f"{MODEL}@32.fold2")

    def test_priority_may_name_a_fold(self, images: Path) -> None:
        Study.open(small_config(images, data={"folds": 3}, priority=[f"{MODEL}@32.fold2"]))
        with pytest.raises(ResomapError, match="fold 1 is the first fold, whose training has no suffix"):
            Study.open(small_config(images, data={"folds": 3}, priority=[f"{MODEL}@32.fold1"]))

    def test_each_cell_has_a_fingerprint_and_the_study_one_base(self, study: Study, images: Path) -> None:
        assert len(set(study.fingerprints().values())) == 6
        without = Study.open(small_config(images, seeds=[3, 0]))
        assert without.base != study.base
        assert not set(study.fingerprints().values()) & set(without.fingerprints().values())
        assert Study.open(small_config(images, data={"folds": None})).base == without.base

    def test_files_of_other_folds_are_not_the_first_ones(
        self, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for cell in study.cells():
            cell.marker.parent.mkdir(parents=True, exist_ok=True)
            cell.marker.touch()
            cell.beside_marker("out-of-fold.npz").touch()
        for cell in study.cells():
            assert sorted(archive.files_beside_marker(cell)) == [cell.marker, cell.beside_marker("out-of-fold.npz")]

    def test_a_training_of_a_fold_is_predicted_to_see_the_images_of_the_others(
        self, study: Study, images: Path
    ) -> None:
        first = study.cells()[0]
        longer = Durations(study, "cpu").seconds(first)
        shorter = Durations(Study.open(small_config(images)), "cpu").seconds(first)
        assert longer / shorter == pytest.approx((3 * 0.85 * 2 / 3 + 0.85 / 3) / (3 * 0.7 + 0.15))


class TestSettings:
    @pytest.mark.parametrize("folds", [1, 0, -3, 2.5, "many"])
    def test_what_is_no_number_of_folds_is_refused(self, folds: Any) -> None:
        with pytest.raises(ResomapError, match="folds"):
            parse_config({"data": {"folds": folds}})

    def test_null_from_the_command_line_is_none(self) -> None:
        assert parse_config({"data": {"folds": "null"}}).data.folds is None

    def test_training_images_have_to_stay(self) -> None:
        with pytest.raises(ResomapError, match="folds and keep_train: false do not go together"):
            parse_config({"data": {"folds": 3, "keep_train": False}})

    def test_more_folds_than_a_class_has_images_is_one_sentence_before_an_image_is_opened(self, tmp_path: Path) -> None:
        for label, count in (("many", 30), ("few", 4)):
            (tmp_path / label).mkdir()
            for number in range(count):
                (tmp_path / label / f"{number}.png").write_bytes(b"no image")
        with pytest.raises(ResomapError, match=r"data.folds is 5, and the class few has only 4 .*folds: 4\}"):
            Study.open(small_config(tmp_path, data={"folds": 5}))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=30, max_size=90), st.integers(2, 6), st.integers(0, 2**32))
def test_blocks_stay_together_and_classes_are_spread(sizes: list[int], folds: int, seed: int) -> None:
    members = [
        Member(f"{block}-{image}", f"c{block % 3}", f"c{block % 3}", f"{block}")
        for block, size in enumerate(sizes)
        for image in range(size)
    ]
    fold_of = deal(members, folds, seed)
    assert {fold_of[member.name] for member in members} == set(range(1, folds + 1))
    for block in range(len(sizes)):
        assert len({fold_of[member.name] for member in members if member.block == str(block)}) == 1
    held = Counter((fold_of[member.name], member.label) for member in members)
    for label in ("c0", "c1", "c2"):
        due = sum(member.label == label for member in members) / folds
        assert all(abs(held[fold, label] - due) <= 6 for fold in range(1, folds + 1))
    assert deal(members[::-1], folds, seed) == fold_of


@pytest.fixture
def prepared(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of three folds whose images are prepared, in its directory."""
    monkeypatch.chdir(tmp_path)
    return make_study(tmp_path, small_config(images, data={"folds": 3}))


class TestDeal:
    def test_every_image_outside_test_judges_once_and_test_is_what_it_was(
        self, prepared: Study, images: Path, tmp_path: Path
    ) -> None:
        manifest = Manifest.load(DATA_DIRECTORY)
        assert manifest.splits == ("train", "test")
        without = make_manifest(parse_config(small_config(images)).data, tmp_path / "without", 1)
        assert [entry.name for entry in manifest.of("test")] == [entry.name for entry in without.of("test")]
        assert all(entry.fold is None for entry in manifest.of("test"))
        sizes = Counter((entry.fold, entry.label) for entry in manifest.of("train"))
        assert set(sizes.values()) == {17}
        assert "dealt into 3 folds of 34" in (DATA_DIRECTORY / "check.md").read_text()

    def test_the_deal_goes_by_the_split_seed_not_the_cells(self, prepared: Study, images: Path, tmp_path: Path) -> None:
        before = {entry.name: entry.fold for entry in Manifest.load(DATA_DIRECTORY).entries}
        other = parse_config(small_config(images, seeds=[7], data={"folds": 3})).data
        assert {entry.name: entry.fold for entry in make_manifest(other, tmp_path / "a", 1).entries} == before
        other = parse_config(small_config(images, data={"folds": 3, "split_seed": 1})).data
        assert {entry.name: entry.fold for entry in make_manifest(other, tmp_path / "b", 1).entries} != before

    def test_a_given_validation_folder_is_dealt_and_the_given_test_folder_stays(self, tmp_path: Path) -> None:
        for split, count in (("train", 12), ("val", 6), ("test", 4)):
            draw_images(tmp_path / "set" / split, count, seed=len(split) + count)
        data = parse_config({"data": {"source": str(tmp_path / "set"), "folds": 3}}).data
        manifest = make_manifest(data, tmp_path / "data", 1)
        assert {entry.name for entry in manifest.of("test")} == {
            entry.name for entry in manifest.entries if entry.name.startswith("test/")
        }
        assert Counter(entry.fold for entry in manifest.of("train")) == {1: 12, 2: 12, 3: 12}
        folders = {(entry.name.split("/")[0], entry.fold) for entry in manifest.of("train")}
        assert len(folders) == 6, "both folders are in each fold"
        assert "val/ folder are dealt into the folds with those of train/" in (tmp_path / "data/check.md").read_text()
        other = parse_config({"data": {"source": str(tmp_path / "set"), "folds": 3, "split_seed": 1}}).data
        assert make_manifest(other, tmp_path / "other", 1).identity != manifest.identity

    def test_groups_and_near_duplicates_share_a_fold(self, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        draw_images(folder, 30, size=64)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        with (tmp_path / "groups.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "group"])
            writer.writerows([name, f"patient {number // 3}"] for number, name in enumerate(names))
        data = parse_config({"data": {"source": str(folder), "folds": 3, "groups": str(tmp_path / "groups.csv")}}).data
        manifest = make_manifest(data, tmp_path / "data", 1)
        places: dict[str | None, set[Any]] = {}
        for entry in manifest.entries:
            places.setdefault(entry.group, set()).add((entry.split, entry.fold))
        assert all(len(found) == 1 for found in places.values())
        copies = [name for name in names if name.endswith("0.png")]
        for name in copies:
            with Image.open(folder / name) as picture:
                picture.resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{name[:-4]}-again.jpg", quality=85)
        data = parse_config({"data": {"source": str(folder), "folds": 3}}).data
        dealt = {entry.name: (entry.split, entry.fold) for entry in make_manifest(data, tmp_path / "near", 1).entries}
        confirmed = [name for name in copies if dealt[name] == dealt[f"{name[:-4]}-again.jpg"]]
        assert confirmed == copies

    def test_a_class_of_too_few_groups_is_one_sentence(self, tmp_path: Path) -> None:
        folder = tmp_path / "set"
        draw_images(folder, 12)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
        few = names[0].split("/")[0]
        lines = [f"{name},{'one' if name.startswith(few) and i else f'p{i}'}" for i, name in enumerate(names)]
        (tmp_path / "groups.csv").write_text("\n".join(["path,group", *lines]) + "\n")
        values = {"source": str(folder), "folds": 3, "groups": str(tmp_path / "groups.csv")}
        with pytest.raises(PermanentFailure, match=f"data.folds is 3, and the class {few} has only"):
            make_manifest(parse_config({"data": values}).data, tmp_path / "data", 1)


class TestStore:
    @pytest.mark.parametrize("on_disk", ["always", "never"])
    def test_a_fold_judges_its_own_images_and_trains_on_the_others(self, prepared: Study, on_disk: Any) -> None:
        prepare_images(DATA_DIRECTORY, RESOLUTION, 1, on_disk)
        whole = Store.open(DATA_DIRECTORY, RESOLUTION).split("train")
        pixels = {name: np.array(row) for name, row in zip(whole.names, whole.pixels, strict=True)}
        folds = {entry.name: entry.fold for entry in Manifest.load(DATA_DIRECTORY).entries}
        judged = []
        for fold in (1, 2, 3):
            store = Store.open(DATA_DIRECTORY, RESOLUTION, fold=fold)
            train, val = store.split("train"), store.split("val")
            assert {folds[name] for name in val.names} == {fold}
            assert sorted([*train.names, *val.names]) == whole.names
            judged += val.names
            for part in (train, val):
                assert all(np.array_equal(row, pixels[name]) for name, row in zip(part.names, part.pixels, strict=True))
                picked = np.array([3, 1])
                assert np.array_equal(part.pixels[picked], np.stack([pixels[part.names[i]] for i in picked]))
                assert part.pixels[2:5].shape == (3, RESOLUTION, RESOLUTION, store.channels)
            seen = np.stack([pixels[name] for name in train.names]) / 255
            assert store.mean == pytest.approx(seen.mean(axis=(0, 1, 2)), abs=1e-9)
            assert store.std == pytest.approx(seen.std(axis=(0, 1, 2)), abs=1e-9)
        assert sorted(judged) == whole.names

    def test_pixels_are_stored_once(self, prepared: Study) -> None:
        assert sorted(path.name for path in (DATA_DIRECTORY / str(RESOLUTION)).iterdir()) == [
            *("store.json", "test.npy", "train.npy")
        ]

    def test_a_fold_of_images_prepared_without_it_is_one_sentence(self, study_in: Callable[..., Study]) -> None:
        study_in()
        with pytest.raises(ResomapError, match="was prepared without fold 2; remove that folder"):
            Store.open(DATA_DIRECTORY, RESOLUTION, fold=2)
