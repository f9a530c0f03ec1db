"""Folder of class folders as a data source: its layout and its files.

Light: of images without the suffix of one, the first bytes of a few are read, to tell what the folders are.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
from pathlib import Path

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.clutter import kind_of_clutter
from resomap.data.image_formats import is_image, suffixes
from resomap.data.layout import OWN_NAMES, Candidate, Layout, refuse_parts, split_folders, split_of_name

# Texts that lie beside images: annotations, captions, licences, settings of photo programs.
TEXT_SUFFIXES = frozenset(
    {
        *(".txt", ".md", ".rst", ".log", ".html", ".htm", ".url"),
        *(".xml", ".xmp", ".aae", ".json", ".jsonl", ".csv", ".tsv", ".names"),
        *(".yaml", ".yml", ".toml", ".ini", ".cfg"),
    }
)
_LOOKED_INTO = 4  # files without a telling suffix in one folder
OUTPUTS = ("results", "checkpoints")  # what a study writes into its working directory


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
    taken_as: dict[str, str]  # {folder: split} of split folders whose names are only like the split's
    unreadable: list[tuple[str, str]]  # (folder, reason) of folders that cannot be listed
    clutter: list[File]  # left out by its name; folders, whose names end with a slash, are not walked
    arrays: bool = False  # whether arrays of numbers (`.npy`) are images


def source_root(source: str) -> Path:
    """Return the absolute path of a folder source. Raises ResomapError where there is no such folder."""
    root = Path(source).expanduser().absolute()
    if not root.exists():
        raise ResomapError(f"there is no data folder {root.resolve()}; set `data.source` to yours or to `elpv`")
    if not root.is_dir():
        raise ResomapError(
            f"{root} is a file, and `data.source` must be a folder of class folders or of shards, a table (.csv, .tsv, "
            ".parquet) or `elpv`"
        )
    return root


def is_text_name(name: str) -> bool:
    """Return True if a file's name has the suffix of a text."""
    return os.path.splitext(name)[1].lower() in TEXT_SUFFIXES


def is_image_file(root: Path, name: str, arrays: bool = False) -> bool:
    """Return True for a file with the suffix of an image, or with the content of one under any name but a text's."""
    return not is_text_name(name) and is_image(root / name, arrays)


def scan_of(data: Data) -> Scan:
    """Scan the folder of a configuration: `scan`, with arrays among the images where it names their channels."""
    return scan(source_root(data.source), data.layout, data.channels is not None)


def scan(root: Path, layout: Layout = "auto", arrays: bool = False) -> Scan:
    """Walk the folder once. Links to folders are followed; clutter, hidden files and this study's outputs are left out.

    With the layout `classes` every folder is a class, whatever its name. Raises ResomapError: nothing in it, no class
    folders, train/ without test/, folders that are parts of a set, a folder of splits or classes that cannot be read.
    """
    try:
        return _scan(root, layout, arrays)
    except OSError as error:
        raise ResomapError(f"the data folder {error.filename or root} cannot be read: {error.strerror}") from None


def _scan(root: Path, layout: Layout, arrays: bool) -> Scan:
    walk = _Walk(own_outputs=_own_outputs(), arrays=arrays)
    folders, ignored = walk.children(root)
    splits = walk.splits(root, folders) if layout == "auto" else {}
    if splits:
        ignored += [f"{name}/" for name in folders if name not in splits.values()]
    parents: list[tuple[str | None, Path, str]] = [
        (split, *walk.without_double(root, split, name)) for split, name in splits.items()
    ]
    files: list[File] = []
    class_folders: list[tuple[str | None, str]] = []
    for split, parent, prefix in parents or [(None, root, "")]:
        labels, beside = walk.children(parent, prefix) if split else (folders, [])
        ignored += [prefix + name for name in beside]
        images: list[str] = []
        for label in labels:
            found = [File(*entry, split, label) for entry in walk.files(str(parent / label), f"{prefix}{label}/")]
            of_images = list(_first_images(root, (file.name for file in found), arrays))
            if split is None and not of_images and _holds_this_study(root / label):
                ignored.append(f"{label}/")
                continue
            class_folders.append((split, label))
            files += found
            images += of_images
        if layout == "auto":
            refuse_parts(root, prefix, [label for of, label in class_folders if of == split], images)
    if not files and not walk.unreadable:
        kind = "class folders without files" if class_folders else "no class folders"
        raise ResomapError(
            f"{root} has {kind}; `data.source` takes train/ val/ test/ of class folders, or class folders"
        )
    return Scan(
        root,
        sorted(files, key=lambda file: file.name),
        sorted(class_folders, key=str),
        split_here=SPLITS if not splits else ("train", "val") if "val" not in splits else (),
        ignored=sorted(ignored),
        taken_as={name: split for split, name in splits.items() if name.lower() not in OWN_NAMES},
        unreadable=sorted(walk.unreadable),
        clutter=sorted(walk.clutter, key=lambda file: file.name),
        arrays=arrays,
    )


def _has_images(root: Path, names: Iterable[str], arrays: bool) -> bool:
    return next(_first_images(root, names, arrays), None) is not None


def _first_images(root: Path, names: Iterable[str], arrays: bool) -> Iterator[str]:
    """Yield one image of each folder that holds any, by its suffix, else by the content of the first few files."""
    unknown: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        if folder in seen or is_text_name(name):
            continue
        if os.path.splitext(name)[1].lower() in suffixes(arrays):
            seen.add(folder)
            yield name
        else:
            unknown[folder].append(name)
    for folder in unknown.keys() - seen:
        looked_into = nsmallest(_LOOKED_INTO, unknown[folder])
        yield from islice((name for name in looked_into if is_image(root / name, arrays)), 1)


def _own_outputs() -> frozenset[tuple[int, int]]:
    """Return (device, inode) of the folders that this study writes: a source that holds them does not hold images."""
    return frozenset((status.st_dev, status.st_ino) for name in OUTPUTS if (status := _status(name)))


def _holds_this_study(folder: Path) -> bool:
    here = Path.cwd()
    return folder.resolve() in (here, *here.parents)


def _status(path: str | os.DirEntry[str]) -> os.stat_result | None:
    try:
        return os.stat(path) if isinstance(path, str) else path.stat()
    except OSError:
        return None


@dataclass
class _Walk:
    """Walk through the source's folders, with what it left out and what it could not list on its way."""

    own_outputs: frozenset[tuple[int, int]]
    arrays: bool
    clutter: list[File] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def children(self, folder: Path, prefix: str = "") -> tuple[list[str], list[str]]:
        """Return (names of the folders, names of the files) directly in a folder. Raises OSError."""
        seen = list(self._entries(str(folder), prefix))
        folders = [entry.name for entry, is_folder in seen if is_folder]
        return sorted(folders), sorted(entry.name for entry, is_folder in seen if not is_folder)

    def splits(self, root: Path, names: list[str]) -> dict[str, str]:
        """Return {split: folder} of the folders below the root; opened are those with names like a split's."""
        aside = _Walk(self.own_outputs, self.arrays)  # what is looked into here is walked once more
        candidates, others = [], []
        for name in names:
            if split := split_of_name(name):
                folders, files = aside.children(root / name)
                candidates.append(Candidate(name, split, bool(folders), _has_images(root / name, files, self.arrays)))
            else:
                others.append(name)

        def has_other_images() -> bool:
            walked = ((root / name, aside.files(str(root / name), "")) for name in others)
            return any(_has_images(folder, (file for file, _ in files), self.arrays) for folder, files in walked)

        return split_folders(root, candidates, has_other_images)

    def without_double(self, root: Path, split: str, name: str) -> tuple[Path, str]:
        """Return (split folder, prefix of names): the inner one of `seg_train/seg_train/`, as archives unpack."""
        aside = _Walk(self.own_outputs, self.arrays)
        folders, files = aside.children(root / name)
        inner = folders[0] if len(folders) == 1 and not _has_images(root / name, files, self.arrays) else ""
        if split_of_name(inner) == split and aside.children(root / name / inner)[0]:
            return root / name / inner, f"{name}/{inner}/"
        return root / name, f"{name}/"

    def files(
        self, folder: str, prefix: str, above: frozenset[tuple[int, int]] = frozenset()
    ) -> Iterator[tuple[str, int]]:
        """Yield (name, size) of all files in a folder and below it; a folder that cannot be listed is remembered."""
        try:
            status = os.stat(folder)
            place = (status.st_dev, status.st_ino)
            if place in above:  # a link to a folder above itself would be walked for ever
                return
            entries = list(self._entries(folder, prefix))
        except OSError as error:
            self.unreadable.append((prefix, error.strerror or str(error)))
            return
        for entry, is_folder in entries:
            if is_folder:
                yield from self.files(entry.path, f"{prefix}{entry.name}/", above | {place})
            else:
                yield prefix + entry.name, _size(entry)

    def _entries(self, folder: str, prefix: str) -> Iterator[tuple[os.DirEntry[str], bool]]:
        """Yield (entry, True for a folder) without clutter, which is recorded."""
        with os.scandir(folder) as entries:
            for entry in entries:
                is_folder = _is_folder(entry)
                if kind_of_clutter(entry.name, is_folder):
                    name = f"{prefix}{entry.name}/" if is_folder else prefix + entry.name
                    self.clutter.append(File(name, 0 if is_folder else _size(entry), None, ""))
                elif not (is_folder and entry.name in OUTPUTS and self._is_own_output(entry)):
                    yield entry, is_folder

    def _is_own_output(self, entry: os.DirEntry[str]) -> bool:
        status = _status(entry)
        return status is not None and (status.st_dev, status.st_ino) in self.own_outputs


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: a file that cannot be read
        return False


def _size(entry: os.DirEntry[str]) -> int:
    status = _status(entry)
    return -1 if status is None else status.st_size
