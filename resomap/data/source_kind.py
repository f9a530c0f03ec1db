"""Kind of a data source, and the files that it consists of: told by names, nothing is opened."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resomap.core.errors import ResomapError
from resomap.data.clutter import kind_of_clutter
from resomap.data.layout import split_of_name

Kind = Literal["elpv", "folder", "text", "parquet", "tar"]

TEXT_TABLES = (".csv", ".tsv")
_SHARDS: dict[str, Kind] = {".parquet": "parquet", ".tar": "tar"}
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
METADATA = "metadata.csv"  # of an imagefolder, as `datasets` names it


@dataclass(frozen=True)
class SourceFiles:
    """Kind of a source and its files: the tables or shards; of folders and elpv none."""

    kind: Kind
    root: Path  # absolute; where the names of images and shards start
    files: tuple[Path, ...] = ()  # sorted

    def name(self, file: Path) -> str:
        """Return the name of a table or shard, from the root."""
        return file.relative_to(self.root).as_posix()


def source_files(source: str) -> SourceFiles:
    """Return the kind and files of `data.source`. Raises ResomapError for compressed and for mixed shards."""
    if source == "elpv":
        return SourceFiles("elpv", Path())
    path = Path(source).expanduser().absolute()
    suffix = path.suffix.lower()
    is_table = suffix in TEXT_TABLES or suffix in _SHARDS
    if is_table and not path.exists():
        raise ResomapError(f"there is no file {path}; set `data.source` to your table, shards or folder, or to `elpv`")
    if path.is_file():
        _refuse_compressed([path])
        kind = "text" if suffix in TEXT_TABLES else _SHARDS.get(suffix)
        return SourceFiles(kind or "folder", path.parent, (path,) if kind else ())
    try:
        return _shards(path) or _metadata(path) or SourceFiles("folder", path)
    except OSError:  # the walk of the folder says it
        return SourceFiles("folder", path)


def unreadable(file: Path, error: OSError) -> ResomapError:
    """Return the error for a table or shard that cannot be read."""
    return ResomapError(f"{file} cannot be read: {error.strerror or error}; mend `data.source`")


def _shards(root: Path) -> SourceFiles | None:
    """Return the shards of a folder that holds nothing else, in itself or in each folder directly below it."""
    folders, files = _entries(root)
    shards = [file for file in files if _is_shard(file)]
    if shards and folders:
        return None  # an archive beside class folders
    if not shards:
        for folder in folders:
            found = _shards_alone(folder)
            if not found:
                return None
            shards += found
    if not shards:
        return None
    _refuse_compressed(shards)
    kinds = {_SHARDS[shard.suffix.lower()] for shard in shards}
    if len(kinds) > 1:
        raise ResomapError(f"{root} holds Parquet and tar shards; set `data.source` to a folder of one kind")
    return SourceFiles(kinds.pop(), root, tuple(sorted(shards)))


def _metadata(root: Path) -> SourceFiles | None:
    """Return the tables of an imagefolder: metadata.csv in the root, or in each of its split folders.

    Where there are class folders, these are the labels.
    """
    folders, files = _entries(root)
    if root / METADATA in files and len(folders) < 2:
        return SourceFiles("text", root, (root / METADATA,))
    tables = []
    for folder in folders:
        if split_of_name(folder.name) is None:  # before it is read: a class may have a million files
            return None
        inner, inside = _entries(folder)
        if inner or folder / METADATA not in inside:
            return None
        tables.append(folder / METADATA)
    return SourceFiles("text", root, tuple(sorted(tables))) if len(tables) > 1 else None


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return (folders, files) without clutter. Raises OSError."""
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir()
            if not kind_of_clutter(entry.name, is_folder):
                (folders if is_folder else files).append(Path(entry.path))
    return folders, files


def _shards_alone(folder: Path) -> list[Path]:
    """Return the shards of a folder in which every entry is one; none where any is not, at once."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if kind_of_clutter(entry.name, entry.is_dir()):
                continue
            if entry.is_dir() or not _is_shard(path):
                return []
            found.append(path)
    return found


def _is_shard(path: Path) -> bool:
    return path.suffix.lower() in _SHARDS or path.name.lower().endswith(_COMPRESSED)


def _refuse_compressed(shards: list[Path]) -> None:
    for shard in shards:
        if shard.name.lower().endswith(_COMPRESSED):
            raise ResomapError(
                f"{shard} is a compressed tar, in which no image can be found without reading all before it; unpack "
                "the compression alone (`gunzip`, `unzstd`, ...) and keep the .tar"
            )
