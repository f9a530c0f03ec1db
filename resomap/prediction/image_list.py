"""Images that `resomap predict` is to answer: files, and folders with all images below them, in their order.

Light: it is imported by the processes that decode.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resomap.data.clutter import kind_of_clutter
from resomap.data.image_formats import is_image
from resomap.data.location import InFile, Location


@dataclass(frozen=True, slots=True)
class Listed:
    """One image, and where its bytes are; or what stands in place of images, and the reason why there are none."""

    name: str
    location: Location | None
    error: str | None = None


def listed(paths: Iterable[Path]) -> Iterator[Listed]:
    """Yield the images: files as they are named, of folders all images below them by name.

    A folder without images is one with a reason. A file may have any suffix, and need not exist: reading it tells.
    """
    for path in paths:
        if not path.is_dir():
            yield Listed(str(path), InFile(path))
            continue
        inside = sorted(_below(path))
        yield from (Listed(str(one), InFile(one)) for one in inside)
        if not inside:
            yield Listed(str(path), None, "no images in this folder")


def digest_of(images: Sequence[Listed]) -> str:
    """Return a digest of the list: it changes with the names, their order, and the size or time of any file."""
    found = hashlib.sha256()
    for image in images:
        found.update(f"{os.fsencode(image.name)!r} {image.error} {_state(image.location)}\n".encode())
    return found.hexdigest()


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not kind_of_clutter(name, is_folder=True)]
        kept = (Path(place, name) for name in names if not kind_of_clutter(name, is_folder=False))
        yield from filter(is_image, kept)


def _state(location: Location | None) -> str:
    if not isinstance(location, InFile):
        return ""
    try:
        status = os.stat(location.path)
    except (OSError, ValueError):
        return "not there"
    return f"{status.st_size} {status.st_mtime_ns}"
