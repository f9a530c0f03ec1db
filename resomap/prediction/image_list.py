"""Images that `resomap predict` is to answer: files, folders with all images below them, tables and shards."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data.clutter import kind_of_clutter
from resomap.data.image_formats import is_image
from resomap.data.location import InFile, InTar, Location
from resomap.data.source_kind import SourceFiles, source_files
from resomap.data.tables import is_table, read_images_alone
from resomap.prediction.image_batches import Listed


def listed(paths: Iterable[Path], column: str | None = None, arrays: bool = False) -> Iterator[Listed]:
    """Yield the images: files as they are named, of folders all images below them by name, of tables their lines.

    A table is a .csv, .tsv or .parquet, and shards (.parquet, .tar) are one too, single or a folder of them; `column`
    is that of its images, where its name does not tell. A folder without images is one with a reason. A file may have
    any other suffix, and need not exist: reading it tells. With `arrays` a folder's `.npy` are images too. Raises
    ResomapError for a table that cannot be read.
    """
    for path in paths:
        if (table := _table(path)) is not None:
            yield from _lines(table, path, column)
            continue
        if not path.is_dir():
            yield Listed(str(path), InFile(path))
            continue
        inside = sorted(_below(path, arrays))
        yield from (Listed(str(one), InFile(one)) for one in inside)
        if not inside:
            yield Listed(str(path), None, "no images in this folder")


def digest_of(images: Sequence[Listed]) -> str:
    """Return a digest of the list: it changes with the names, their order, and the size or time of any file."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{os.fsencode(image.name)!r} {image.error} {_state(image.location)}\n".encode())
    return found.hexdigest()


def _below(folder: Path, arrays: bool) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not kind_of_clutter(name, is_folder=True)]
        kept = (Path(place, name) for name in names if not kind_of_clutter(name, is_folder=False))
        yield from (file for file in kept if is_image(file, arrays))


def _table(path: Path) -> SourceFiles | None:
    """Return the files of a table or of shards; None for anything else, and for a folder that holds images too."""
    if not path.exists():
        return None
    found = source_files(str(path))
    return found if is_table(found) and (found.kind != "text" or path.is_file()) else None


def _lines(table: SourceFiles, path: Path, column: str | None) -> Iterator[Listed]:
    try:
        data = Data(source=str(path), columns={"path": column or "auto"})
        listing = read_images_alone(table, data)
    except ResomapError as error:
        words = str(error).replace("--config 'data={columns: {path: NAME}}'", "--column NAME")
        raise ResomapError(words.replace("`data.columns.path`", "--column")) from None
    yield from (Listed(line.name, line.location) for line in listing.lines)
    yield from (Listed(name, None, reason) for name, reason in listing.problems)


def _state(location: Location | None) -> str:
    if location is None:
        return ""
    if isinstance(location, InFile):
        return _stamp(location.path)
    return f"{location} {_stamp(location.archive if isinstance(location, InTar) else location.file)}"


def _stamp(path: Path) -> str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return "not there"
    return f"{status.st_size} {status.st_mtime_ns}"
