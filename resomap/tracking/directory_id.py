"""Id of the working directory, by which runs of another directory are told from our own.

Runs of one directory do not compete with each other, since a cell's lock prevents it. So a training that was killed
here and is started again need not wait until its run in the tracker looks dead. A copy of the directory is another
one: beside the id stands the number of the file's inode, which a move keeps and a copy does not.
"""

import contextlib
import os
import uuid
from pathlib import Path

from resomap.cells.study import STATE_DIRECTORY
from resomap.core.files import NotRegular, regular_bytes
from resomap.core.temporary import temporary_beside

ID_FILE = STATE_DIRECTORY / "place"


def directory_id() -> str:
    """Return 32 hex digits, drawn at the first call in a directory; the same for all machines that share it."""
    while (known := _read(ID_FILE)) is None:
        _set_aside_copy()
        _draw()
    return known


def _read(path: Path) -> str | None:
    """Return the id in a file; None where there is none, or it is a copied one."""
    try:
        words = regular_bytes(path).decode().split()
        # Earlier versions wrote the id alone.
        return words[0] if words and words[1:] in ([], [str(path.stat().st_ino)]) else None
    except (FileNotFoundError, NotRegular):
        return None


def _draw() -> None:
    temporary = _temporary()
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w") as stream:
        stream.write(f"{uuid.uuid4().hex} {os.fstat(stream.fileno()).st_ino}\n")
    try:
        # Of several at once the first wins; a reader never finds half an id. The link has the same inode.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, ID_FILE)
    finally:
        temporary.unlink(missing_ok=True)


def _set_aside_copy() -> None:
    """Remove the id that was copied with the directory; put back one that another process has drawn meanwhile."""
    taken = _temporary()
    try:
        os.rename(ID_FILE, taken)
    except FileNotFoundError:
        return
    if _read(taken) is not None:
        with contextlib.suppress(FileExistsError):
            os.link(taken, ID_FILE)
    taken.unlink(missing_ok=True)


def _temporary() -> Path:
    return temporary_beside(ID_FILE)
