"""The data's identity follows what decides the result, and nothing else, and stays cheap."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import resomap
from resomap.config.schema import Data, Split
from resomap.core.errors import ResomapError
from resomap.data.identity import data_identity

OTHER_SHARES = Split(train=0.6, val=0.2, test=0.2)


def folder(root: Path, *names: str) -> Path:
    """Files with a little content. The identity reads none of them, so they need not be images."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * len(name))
    return root


def to_split(root: Path) -> Path:
    return folder(root, "cat/1.png", "cat/2.png", "dog/1.png")


def with_splits(root: Path) -> Path:
    return folder(root, "train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "test/dog/2.png")


def identity(source: Path | str, **values: Any) -> str:
    return data_identity(Data(source=str(source), **values))


def test_it_is_64_hex_digits_and_does_not_know_the_place(tmp_path: Path) -> None:
    here, there = to_split(tmp_path / "a"), to_split(tmp_path / "deep" / "b")
    assert identity(here) == identity(there)
    assert len(identity(here)) == 64
    assert set(identity(here)) <= set("0123456789abcdef")


def test_a_relative_source_starts_at_the_working_directory(tmp_path: Path) -> None:
    to_split(tmp_path / "images")
    code = "from resomap.config.schema import Data; from resomap.data.identity import data_identity; "
    code += "print(data_identity(Data(source='images')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == identity(tmp_path / "images")


def test_each_file_counts_by_path_and_size(tmp_path: Path) -> None:
    root = to_split(tmp_path / "a")
    seen = {identity(root)}
    (root / "cat/1.png").write_bytes(b"another size")
    seen.add(identity(root))
    (root / "cat/2.png").rename(root / "cat/3.png")
    seen.add(identity(root))
    (root / "dog/clip.mp4").write_text("a file of another type is a matter of the check")
    seen.add(identity(root))
    assert len(seen) == 4


def test_hidden_files_and_files_beside_the_classes_do_not_count(tmp_path: Path) -> None:
    root = to_split(tmp_path / "a")
    before = identity(root)
    folder(root, "cat/.DS_Store", ".cache/1.png", "README.md", "cat/Thumbs.db")
    assert identity(root) == before


BESIDE = ("cat/notes.txt", "dog/1.xml", "cat/thumbs.db", "dog/2.png.part", "dog/1.png:Zone.Identifier")


def test_texts_and_clutter_beside_the_images_do_not_count(tmp_path: Path) -> None:
    """A file manager that leaves its mark in a folder must not make a finished grid train anew."""
    root = to_split(tmp_path / "a")
    before = identity(root)
    folder(root, *BESIDE, "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/old/1.png")
    assert identity(root) == before


def test_identities_that_commit_5fbc41f_gave_stay(tmp_path: Path) -> None:
    root = to_split(tmp_path / "a")
    assert identity(root)[:16] == "433025c86e462036"
    groups = tmp_path / "groups.csv"
    groups.write_text("path,group\ncat/1.png,p1\ncat/gone.png,p2\n")
    assert (
        identity(root, groups=str(groups), ungrouped="alone")
        == "0114747b4764ebe6b8500e830ce67c94908b5b2002c6e81d264ba454d4e2ac23"
    )
    assert identity(root, layout="classes") == identity(root)
    # With `skip` a study may have been trained beside such files, and its identity counted them.
    folder(root, *BESIDE)
    assert identity(root, problems="skip")[:16] == "97a8e1654f104786"


def test_what_earlier_versions_read_otherwise_has_another_identity(tmp_path: Path) -> None:
    root = folder(tmp_path / "a", "cat/cafe\u0301.png", "dog/1.png")
    same, other, missing = (tmp_path / f"{name}.csv" for name in ("same", "other", "missing"))
    same.write_text("path,group\ncat/cafe\u0301.png,p1\n")
    assert identity(root, groups=str(same))[:16] == "196fe6dd70198597"
    other.write_text("path,group\ncat/caf\u00e9.png,p1\n")
    assert identity(root, groups=str(other))[:16] != "7931f14d690ad72e"
    missing.write_text("path,group\ncat/cafe\u0301.png,p1\ndog/1.png,nan\n")
    assert (
        identity(root, groups=str(missing), ungrouped="alone")
        != "bef63e4dff8eee23663e40ebda2080cd4272dfb667a67490b815971c065f4438"
    )


def test_class_folders_may_be_links_and_a_loop_ends(tmp_path: Path) -> None:
    root, linked = to_split(tmp_path / "a"), tmp_path / "b"
    linked.mkdir()
    for name in ("cat", "dog"):
        (linked / name).symlink_to(root / name)
    assert identity(root) == identity(linked)
    (root / "cat/again").symlink_to(root / "cat")
    assert identity(root) == identity(linked)


@pytest.mark.parametrize(
    "values", [{"problems": "skip"}, {"fit": "squash"}, {"split_seed": 1}, {"split": OTHER_SHARES}]
)
def test_every_option_that_decides_the_pixels_or_the_split_counts(tmp_path: Path, values: dict[str, Any]) -> None:
    root = to_split(tmp_path / "a")
    assert identity(root, **values) != identity(root)
    assert identity("elpv", **values) != identity("elpv")


def test_workers_do_not_count(tmp_path: Path) -> None:
    root = to_split(tmp_path / "a")
    assert identity(root, workers=7) == identity(root)


def test_seed_and_shares_count_only_where_the_split_is_made_here(tmp_path: Path) -> None:
    root = with_splits(tmp_path / "a")
    assert identity(root, split_seed=5, split=OTHER_SHARES) == identity(root)
    for path in sorted((root / "val/cat").iterdir()):
        path.unlink()
    (root / "val/cat").rmdir()
    (root / "val").rmdir()
    assert identity(root, split_seed=5) != identity(root)


def test_the_content_of_the_groups_file_counts(tmp_path: Path) -> None:
    root, groups = to_split(tmp_path / "a"), tmp_path / "groups.csv"
    groups.write_text("path,group\ncat/1.png,p1\n")
    first = identity(root, groups=str(groups))
    groups.write_text("path,group\ncat/1.png,p2\n")
    assert len({identity(root), first, identity(root, groups=str(groups))}) == 3
    with pytest.raises(ResomapError, match=r"missing\.csv cannot be read: No such file"):
        identity(root, groups=str(tmp_path / "missing.csv"))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "has no class folders"),
        (["1.png", "2.png"], "has no class folders"),
        (["train/cat/1.png", "val/cat/1.png"], r"holds train/ and val/ but no test/"),
        (["test/cat/1.png"], r"holds test/ but no train/"),
        (["train/a/1.png", "test/a/1.png", "val/a/1.png", "valid/a/1.png"], "both val/ and valid/"),
    ],
)
def test_folders_of_no_known_layout_are_one_sentence(tmp_path: Path, names: list[str], sentence: str) -> None:
    root = tmp_path / "a"
    root.mkdir()
    folder(root, *names)
    with pytest.raises(ResomapError, match=sentence) as caught:
        identity(root)
    assert str(root) in str(caught.value)


def test_a_missing_folder_is_named_with_its_whole_path(tmp_path: Path) -> None:
    with pytest.raises(ResomapError) as caught:
        identity(os.path.relpath(tmp_path / "nowhere"))
    assert f"there is no data folder {(tmp_path / 'nowhere').resolve()};" in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(ResomapError, match="is a file"):
        identity(tmp_path / "file")


def test_class_folders_without_files(tmp_path: Path) -> None:
    (tmp_path / "a/cat").mkdir(parents=True)
    with pytest.raises(ResomapError, match="class folders without files"):
        identity(tmp_path / "a")


def test_it_stays_light_and_quick_with_many_files(tmp_path: Path) -> None:
    for label in range(20):
        (tmp_path / f"a/class{label}").mkdir(parents=True)
        for number in range(200):
            (tmp_path / f"a/class{label}/{number}.jpg").touch()
    code = (
        "import sys; from resomap.config.schema import Data; from resomap.data.identity import data_identity; "
        f"data_identity(Data(source={str(tmp_path / 'a')!r})); data_identity(Data()); "
        "print(sorted({'numpy', 'PIL', 'torch', 'timm', 'mlflow', 'rich', 'elpv_dataset'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    start = time.perf_counter()
    identity(tmp_path / "a")
    assert time.perf_counter() - start < 2  # 0.02 s for 4,000 files on an idle machine


def test_without_the_package_elpv_says_what_to_install(tmp_path: Path) -> None:
    """A real Python that sees what the light part needs, and no elpv-dataset."""
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "yaml"):
        location = sys.modules[name].__file__
        assert location
        file = Path(location)
        found = file.parent if file.name == "__init__.py" else file
        (tmp_path / found.name).symlink_to(found)
    package = Path(resomap.__file__).parent
    (tmp_path / "resomap").symlink_to(package)
    code = (
        "from resomap.config.schema import Data\nfrom resomap.data.identity import data_identity\n"
        "from resomap.core.errors import ResomapError\n"
        "try:\n    data_identity(Data())\nexcept ResomapError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "run `pip install elpv-dataset`" in done.stdout, done.stderr
    assert "\n" not in done.stdout.strip()
