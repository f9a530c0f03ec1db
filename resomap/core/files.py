"""Atomic files: JSON, CSV and text written so that a reader sees the old content or the new one, never a half."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from resomap.core.errors import ResomapError
from resomap.core.temporary import temporary_beside
from resomap.core.text import encodable


def replace_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file atomically, through a temporary neighbour: write, fsync, rename, fsync the directory.

    Raises OSError (disk full, no permission) with the old file untouched and the temporary one removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make a rename in this directory survive a power loss (POSIX: the directory has its own fsync)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8; bytes of file names that are no UTF-8 are spelled out."""
    replace_atomically(path, lambda stream: stream.write(encodable(text).encode()))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write rows as CSV atomically, undefined values empty; `columns` head a table that has no rows."""
    names = dict.fromkeys(name for row in rows for name in row) if rows else columns
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON atomically: NaN and Infinity, which JSON does not know, become null."""
    write_text(path, strict_json(value) + "\n")


def strict_json(value: Any, indent: int | None = 2) -> str:
    """Return JSON text without NaN and Infinity, which become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None where there is none or it is not JSON (a torn disk, another tool).

    So it is too where a folder, a pipe or a device has its name, of NaN, and of numbers or brackets without end.
    """
    try:
        return json.loads(regular_bytes(path), parse_constant=_refuse_constant)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotRegular, ValueError, RecursionError):
        return None


class NotRegular(OSError):
    """Error of a path that is a pipe or a device, where a file should be."""


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Return a descriptor of a lock or log file, which is made where it is missing.

    Raises ResomapError for a link or anything else that is no regular file: in a folder that others may write, it would
    have us write to a file that they choose.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        is_file = False
    else:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_file:
            os.close(descriptor)
    if not is_file:
        raise ResomapError(f"{path.absolute()} is a link or no file, and a lock or log belongs there; remove it")
    return descriptor


def regular_bytes(path: Path) -> bytes:
    """Return the content of a regular file. Raises OSError, NotRegular for what is none: it never waits for a pipe."""
    with open_regular(path) as stream:
        return stream.read()


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading. Raises OSError, NotRegular for a folder, a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise NotRegular(errno.EINVAL, "it is no regular file", str(path))
        return io.BufferedReader(io.FileIO(descriptor, "rb"))
    except BaseException:
        os.close(descriptor)
        raise


def end_torn_line(path: Path, descriptor: int) -> None:
    """End a line that a kill left incomplete, so that what is appended by `descriptor` starts on a line of its own."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size:
            stream.seek(size - 1)
            if stream.read(1) != b"\n":
                os.write(descriptor, b"\n")


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a regular file's content, in hexadecimal digits. Raises OSError."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
