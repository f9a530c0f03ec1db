"""Folder of class folders as a data source: its layout and its files. Light: no image is opened here."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resomap.core.errors import ResomapError
from resomap.data import SPLITS

SPLIT_OF_FOLDER = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
CLUTTER = frozenset({"Thumbs.db", "desktop.ini"})  # left behind by file managers, beside the hidden files


@dataclass(frozen=True)
class File:
    """A file in a class folder, image or not."""

    name: str  # relative to the root, with forward slashes
    size: int  # bytes; -1 where it cannot be told (a link to nothing)
    split: str | None  # None where the split is made here
    label: str


@dataclass(frozen=True)
class Scan:
    """Result of one walk of a data set's folder, sorted by name."""

    root: Path
    files: list[File]
    class_folders: list[tuple[str | None, str]]  # (split, class), empty ones too
    split_here: tuple[str, ...]  # the splits that are made here; empty where the folder has all three
    ignored: list[str]  # what lies beside the class folders


def source_root(source: str) -> Path:
    """Return the absolute path of a folder source. Raises ResomapError where there is no such folder."""
    root = Path(source).expanduser().absolute()
    if not root.exists():
        raise ResomapError(f"there is no data folder {root.resolve()}; set `data.source` to yours or to `elpv`")
    if not root.is_dir():
        raise ResomapError(f"{root} is a file, and `data.source` must be a folder of class folders or `elpv`")
    return root


def scan(root: Path) -> Scan:
    """Walk the folder once. Links to folders are followed, hidden files are not seen.

    Raises ResomapError: nothing in it, no class folders, train/ without test/, a folder that cannot be read.
    """
    try:
        return _scan(root)
    except OSError as error:
        raise ResomapError(f"the data folder {error.filename or root} cannot be read: {error.strerror}") from None


def _scan(root: Path) -> Scan:
    folders, ignored = _children(root)
    splits = _split_folders(root, folders)
    if splits:
        ignored += [f"{name}/" for name in folders if name not in splits.values()]
    parents: list[tuple[str | None, Path, str]] = [(split, root / name, f"{name}/") for split, name in splits.items()]
    parents = parents or [(None, root, "")]
    files: list[File] = []
    class_folders: list[tuple[str | None, str]] = []
    for split, parent, prefix in parents:
        labels, beside = (folders, []) if split is None else _children(parent)
        ignored += [prefix + name for name in beside]
        for label in labels:
            class_folders.append((split, label))
            found = _files(str(parent / label), f"{prefix}{label}/", frozenset())
            files += [File(name, size, split, label) for name, size in found]
    if not files:
        kind = "class folders without files" if class_folders else "no class folders"
        raise ResomapError(
            f"{root} has {kind}; `data.source` takes train/ val/ test/ of class folders, or class folders"
        )
    here = SPLITS if not splits else ("train", "val") if "val" not in splits else ()
    files.sort(key=lambda file: file.name)
    return Scan(root, files, sorted(class_folders, key=str), here, sorted(ignored))


def _split_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Return {split: folder} where the source comes with its own split, else an empty dict."""
    splits: dict[str, str] = {}
    for name in folders:
        split = SPLIT_OF_FOLDER.get(name.lower())
        if split in splits:
            raise ResomapError(f"{root} holds both {splits[split]}/ and {name}/; keep one of them")
        if split:
            splits[split] = name
    missing = {"train", "test"} - splits.keys()
    if splits and missing:
        raise ResomapError(
            f"{root} holds {' and '.join(f'{name}/' for name in splits.values())} but no "
            f"{' and no '.join(f'{name}/' for name in sorted(missing))}; add what is missing, or set "
            "`data.source` to a folder of class folders, which is split here"
        )
    return splits


def _children(folder: Path) -> tuple[list[str], list[str]]:
    """Return (names of the folders, names of the files) directly in a folder, without hidden ones."""
    with os.scandir(folder) as entries:
        seen = [(entry.is_dir(), entry.name) for entry in entries if _visible(entry.name)]
    return sorted(name for is_folder, name in seen if is_folder), sorted(
        name for is_folder, name in seen if not is_folder
    )


def _files(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    status = os.stat(folder)
    place = (status.st_dev, status.st_ino)
    if place in above:  # a link to a folder above itself would be walked for ever
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _visible(entry.name):
                continue
            if entry.is_dir():
                yield from _files(entry.path, f"{prefix}{entry.name}/", above | {place})
                continue
            try:
                size = entry.stat().st_size
            except OSError:
                size = -1
            yield prefix + entry.name, size


def _visible(name: str) -> bool:
    return not name.startswith(".") and name not in CLUTTER
