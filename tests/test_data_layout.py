"""Layouts of image folders as people have them: their splits are recognised, and parts of a set are no classes."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import small_config
from test_data_manifest import made, picture, report_on, splits_of

from resomap.cells.study import Study
from resomap.config.schema import Data
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.data.folder import scan
from resomap.data.identity import data_identity
from resomap.data.layout import split_of_name


def files(root: Path, *names: str) -> Path:
    """Files whose names alone count."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def splits_and_classes(root: Path, **options: str) -> set[tuple[str | None, str]]:
    return set(scan(root, **options).class_folders)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", "training_set", "seg_train", "TrainingSet", "trainset")),
        *(
            (name, "train")
            for name in ("train_images", "train-data", "trainval", "TRAIN", "train2017", "Training Images")
        ),
        *((name, "val") for name in ("val", "valid", "Validation", "val_set", "dev", "valset", "validation_images")),
        *((name, "test") for name in ("test", "Testing", "test_set", "seg_test", "evaluation", "testdata", "test 224")),
        *((name, None) for name in ("train station", "steam_train", "testament", "devil", "set", "images", "0", "40X")),
        *((name, None) for name in ("invalid", "contest", "train_test", "tést", "дата", "trains")),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of_name(name) == split


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Training", None, "Testing"),
        ("training_set", None, "test_set"),
        ("train", "dev", "test"),
        ("Training", "Validation", "Evaluation"),
        ("seg_train/seg_train", None, "seg_test/seg_test"),
    ],
)
def test_usual_names_of_splits_are_splits_and_that_is_said(
    tmp_path: Path, train: str, val: str | None, test: str
) -> None:
    root, seed = tmp_path / "images", 0
    for split, size in ((train, 6), (val, 2), (test, 3)):
        for label in ("glioma", "none"):
            for number in range(size if split else 0):
                seed += 1
                picture(root / str(split) / label / f"{number}.png", seed)
    manifest = made(root)
    assert manifest.classes == ["glioma", "none"]
    assert manifest.counts["test"] == {"glioma": 3, "none": 3}
    assert {split for name, split in splits_of(manifest).items() if name.startswith(f"{test}/")} == {"test"}
    if val:
        assert manifest.counts["val"] == {"glioma": 2, "none": 2}
    top = test.partition("/")[0]
    assert (f"`{top}/` is taken as the test split" in report_on(root)[0]) == (top != "test")


@pytest.mark.parametrize(
    "classes", [("bus", "car", "train"), ("invalid", "valid"), ("bench", "test", "train"), ("Testing", "dev", "ops")]
)
def test_a_folder_with_images_directly_in_it_is_a_class(tmp_path: Path, classes: tuple[str, ...]) -> None:
    root = tmp_path / "images"
    for number, label in enumerate(classes):
        for i in range(8):
            picture(root / label / f"{i}.png", seed=100 * number + i)
    manifest = made(root)
    assert manifest.classes == sorted(classes)
    assert all(sum(manifest.counts[split].values()) for split in ("train", "val", "test"))


def test_a_class_may_have_the_name_of_a_split_within_a_split(tmp_path: Path) -> None:
    root = files(tmp_path, *(f"{split}/{label}/1.png" for split in ("train", "test") for label in ("bus", "train")))
    assert splits_and_classes(root) == {(split, label) for split in ("train", "test") for label in ("bus", "train")}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"fold{k}/{label}/1.png" for k in range(5) for label in "ab"], "parts of one set"),
        ([f"fold{k}/1.png" for k in range(5)], "parts of one set.*by their names"),
        ([f"CV_Fold {k}/{k}.png" for k in range(3)], "parts of one set.*by their names"),
        ([f"{zoom}X/{label}/1.png" for zoom in (40, 100) for label in ("benign", "malignant")], "benign/, malignant/"),
        ([*(f"40X/{x}/1.png" for x in "abc"), *(f"100X/{x}/1.png" for x in "abd")], r"same sub-folders \(a/, b/\)"),
        ([f"{x}/{label}/1.png" for x in ("Original", "Augmented") for label in "ab"], "parts of one set"),
        ([f"train/{k}/{label}/1.png" for k in "01" for label in "ab"] + ["test/a/1.png"], "parts of one set"),
        ([f"my_{split}_v2/{label}/1.png" for split in ("train", "test") for label in "ab"], "parts of one set"),
        (["x_train/1.png", "x_test/1.png", "orig_val/1.png"], "parts of one set.*by their names"),
        ([f"fold{k}/{label}/1.png" for k in range(3) for label in "ab"] + ["extra/1.png"], "parts of one set"),
        (["train/1.png", "test/1.png"], "images directly in test/, train/, and no class folders"),
        (["train/1.jpg", "train/labels.csv", "docs/readme.txt"], "images directly in train/"),
        (["train/a/1.png", "train/b/1.png", "test/1.png"], "images without class folders in test/"),
        (["Training/a/1.png", "Validation/a/1.png"], "but no test/"),
        (["Training/a/1.png", "train_set/a/1.png", "test/a/1.png"], "both Training/ and train_set/"),
    ],
)
def test_what_is_no_layout_stops_with_a_way_out(tmp_path: Path, names: list[str], sentence: str) -> None:
    root = files(tmp_path / "a", *names)
    with pytest.raises(ResomapError, match=sentence) as caught:
        data_identity(Data(source=str(root)))
    assert "\n" not in str(caught.value)
    if "both" not in sentence:
        assert "--config 'data={layout: classes}'" in str(caught.value)
    labels = {name.partition("/")[0] for name in names}
    assert splits_and_classes(root, layout="classes") == {(None, label) for label in labels}


@pytest.mark.parametrize(
    "names",
    [
        ["n01/images/1.png", "n02/images/1.png"],  # as Tiny ImageNet has them
        ["benign/patient1/1.png", "benign/patient2/1.png", "malignant/patient3/1.png"],
        ["cat/2023/1.png", "cat/2024/1.png", "cat/0.png", "dog/2023/1.png", "dog/2024/1.png"],
        ["40X/1.png", "100X/1.png"],
        ["train_a/1.png", "train_b/1.png"],
        ["Test 1/1.png", "Test 2/1.png"],
        ["train station/1.png", "bus stop/1.png"],
        ["benign/SOB/adenosis/1.png", "malignant/SOB/ductal/1.png"],
    ],
)
def test_sub_folders_of_classes_stay_what_they_are(tmp_path: Path, names: list[str]) -> None:
    root = files(tmp_path, *names)
    assert splits_and_classes(root) == {(None, name.partition("/")[0]) for name in names}


@pytest.mark.parametrize("inside", [("cat", "dog"), ("Training", "Testing", "notes")])
def test_a_folder_in_between_is_named(tmp_path: Path, inside: tuple[str, ...]) -> None:
    root = files(tmp_path / "a", *(f"archive/{name}/{label}.png" for name in inside for label in "ab"), "docs/README")
    with pytest.raises(ResomapError, match=rf"set `data.source` to {root}/archive$"):
        data_identity(Data(source=str(root)))


def test_unlabelled_images_beside_splits_are_left_beside(tmp_path: Path) -> None:
    names = [f"{split}/{label}/1.png" for split in ("train", "test") for label in "ab"]
    found = scan(files(tmp_path, *names, "dev/1.png", "test_images/1.png", "masks/a/1.png"))
    assert found.ignored == ["dev/", "masks/", "test_images/"]
    assert found.split_here == ("train", "val")


def test_a_splits_own_name_goes_before_a_likeness(tmp_path: Path) -> None:
    names = [f"{split}/{label}/1.png" for split in ("train", "val", "test", "Testing") for label in "ab"]
    found = scan(files(tmp_path, *names, "test_images/1.png"))
    assert {split for split, _ in found.class_folders} == {"train", "val", "test"}
    assert found.ignored == ["Testing/", "test_images/"]
    assert found.split_here == ()


def test_a_source_that_holds_the_study_leaves_its_outputs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(4)))
    monkeypatch.chdir(tmp_path)
    before = data_identity(Data(source="."))
    files(tmp_path, "results/figures/heatmap.png", "results/data/32/train.png", "checkpoints/resnet/a/32/x.png")
    assert data_identity(Data(source=".")) == before
    assert splits_and_classes(tmp_path) == {(None, "cat"), (None, "dog")}
    # The study in a folder of its own beside the classes.
    study = files(tmp_path / "study", "study.yaml", "results/figures/heatmap.png").absolute()
    monkeypatch.chdir(study)
    for name in ("results", "checkpoints"):
        os.rename(tmp_path / name, tmp_path.parent / f"{tmp_path.name}-{name}")
    assert data_identity(Data(source="..")) == before
    assert scan(tmp_path).ignored == ["study/"]
    # A class of that name is a class wherever no study has it as its output.
    files(tmp_path, "results/1.png", "checkpoints/1.png")
    assert {label for _, label in splits_and_classes(tmp_path)} == {"cat", "dog", "results", "checkpoints"}


def test_the_layout_reaches_the_study_and_its_costs(tmp_path: Path) -> None:
    from resomap.cells.measurement import class_count

    root = files(tmp_path, *(f"fold{k}/{label}/1.png" for k in range(3) for label in "ab"))
    with pytest.raises(ResomapError, match="parts of one set"):
        Study.open(small_config(root))
    study = Study.open(small_config(root, data={"source": str(root), "layout": "classes"}))
    assert class_count(study.config.data) == 3


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Cat", "cat", "only in case or in spaces: rename one"),
        ("caf\u00e9", "cafe\u0301", "are the same characters in two Unicode forms (NFC, NFD)"),
        ("hot dog", "Hot  Dog", "only in case or in spaces"),
    ],
)
def test_classes_that_are_nearly_one_are_reported_with_the_reason(
    tmp_path: Path, one: str, other: str, why: str
) -> None:
    root = tmp_path / "images"
    for seed, name in enumerate([f"train/{one}", "train/dog", f"val/{one}", f"test/{other}", "test/dog", "val/dog"]):
        picture(root / name / "0.png", seed)
    with pytest.raises(PermanentFailure, match="1 classes that the training split lacks"):
        made(root)
    assert why in report_on(root)[0]
    # In one set both are classes, as `A` and `a` of handwriting are.
    for i in range(6):
        for seed, name in enumerate((one, other)):
            picture(tmp_path / "split here" / name / f"{i}.png", 100 * seed + i)
    assert len(made(tmp_path / "split here").classes) == 2
    text, _ = report_on(tmp_path / "split here")
    assert "Classes whose names are nearly the same: 1" in text
    assert why in text


def test_a_class_of_one_image_is_trained_under_every_seed(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number, (label, size) in enumerate({"a": 12, "b": 12, "one": 1, "two": 2}.items()):
        for i in range(size):
            picture(root / label / f"{i}.png", seed=100 * number + i)
    for seed in range(6):
        manifest = made(root, problems="skip", split_seed=seed)
        assert manifest.classes == ["a", "b", "one", "two"]
        assert manifest.counts["train"]["one"] == 1
        assert manifest.counts["train"]["two"] >= 1
        assert Counter(entry.label for entry in manifest.entries) == {0: 12, 1: 12, 2: 1, 3: 2}


def bare(root: Path, *names: str) -> Path:
    """Images without a suffix: their content alone tells what they are."""
    for number, name in enumerate(names):
        picture(root / f"{name}.png", seed=number)
        (root / f"{name}.png").rename(root / name)
    return root


def test_layouts_of_images_without_suffix_are_told_by_content(tmp_path: Path) -> None:
    classes = bare(tmp_path / "classes", *(f"{label}/{i}" for label in ("bus", "train") for i in range(4)))
    assert splits_and_classes(classes) == {(None, "bus"), (None, "train")}
    folds = bare(tmp_path / "folds", *(f"{part}/{label}/1" for part in ("one", "two") for label in "ab"))
    with pytest.raises(ResomapError, match="parts of one set"):
        scan(folds)
    flat = bare(tmp_path / "flat", "train/1", "test/1")
    with pytest.raises(ResomapError, match="images directly in test/, train/"):
        scan(flat)


def test_planning_opens_few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{label}/{i}{suffix}" for label in ("cat", "test") for i in range(40) for suffix in (".png", ".txt")]
    named = files(tmp_path / "named", *names)
    without = bare(tmp_path / "bare", *(f"{label}/{i}" for label in ("cat", "test") for i in range(40)))
    opened: list[Path] = []
    unpatched = Path.open

    def counted(self: Path, *rest: Any, **more: Any) -> Any:
        opened.append(self)
        return unpatched(self, *rest, **more)

    monkeypatch.setattr(Path, "open", counted)
    data_identity(Data(source=str(named)))
    assert opened == []
    data_identity(Data(source=str(without)))
    assert 0 < len(opened) <= 3 * 4


def test_an_image_under_the_suffix_of_a_text_is_named(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for number, label in enumerate(("cat", "dog")):
        for i in range(8):
            picture(root / label / f"{i}.png", seed=100 * number + i)
    (root / "cat/notes.txt").write_text("P5 12 is how a PGM begins, and this is a text")
    made(root)
    (root / "cat/7.png").rename(root / "cat/7.txt")
    with pytest.raises(ResomapError, match=r"1 files of another type.*cat/7\.txt"):
        made(root)
    assert len(made(root, problems="skip").entries) == 15
    assert "an image by its content, with the suffix of a text" in report_on(root)[0]
