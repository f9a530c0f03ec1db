"""Unfinished file of answers, `NAME.partial` beside the wanted file: the answers of each batch as soon as it is done.

    {"begun": {"images": ..., "weights": ..., "settings": ...}}    digests of all that decides the answers
    [{"image": ..., "predictions": [...]}, ...]                    the rows of the first batch
    ...

Lines of JSON, appended; one that a kill left incomplete is cut off, and its batch is done again. An flock on it keeps a
second process away.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from resomap.core.errors import ResomapError
from resomap.core.files import open_own, strict_json
from resomap.prediction.answer_rows import Row

_KEY = "begun"


def unfinished_beside(path: Path) -> Path:
    """Return the path of the unfinished file of a file of answers."""
    return path.with_name(f"{path.name}.partial")


class Unfinished:
    """The unfinished file, open and locked: `done` batches stand in it, and `changed` says why earlier ones do not.

    `begun`: digest by name of what decides the answers; `batches`: the number of images of each. Raises ResomapError
    where another process writes it.
    """

    def __init__(self, target: Path, begun: Mapping[str, str], batches: Sequence[int]) -> None:
        self._path = unfinished_beside(target)
        self._stream = os.fdopen(open_own(self._path, os.O_RDWR | os.O_CREAT), "r+b")
        try:
            self._lock()
            self.done, self.changed, end = self._read(dict(begun), batches)
            self._stream.seek(end)
            self._stream.truncate()
            if end == 0:
                self._write({_KEY: dict(begun)})
        except BaseException:
            self._stream.close()
            raise

    def append(self, rows: Sequence[Row]) -> None:
        """Write the rows of the next batch. Raises OSError."""
        self._write(list(rows))
        self.done += 1

    def rows(self) -> Iterator[Row]:
        """Yield all rows that are there."""
        self._stream.seek(0)
        self._stream.readline()
        for line in self._stream:
            yield from json.loads(line)

    def remove(self) -> None:
        """Delete the file, whose rows stand in the wanted one now."""
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "Unfinished":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stream.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_free = False
        else:
            is_free = os.fstat(self._stream.fileno()).st_nlink > 0  # else another has just finished it
        if not is_free:
            raise ResomapError(f"another process is writing {self._path}; wait for it, or name another file")

    def _read(self, begun: dict[str, str], batches: Sequence[int]) -> tuple[int, list[str], int]:
        """Return how many batches are whole, what is another one since they were begun, and where to go on (bytes)."""
        head = self._stream.readline()
        before = _value(head)
        before = before.get(_KEY) if isinstance(before, dict) else None
        if not isinstance(before, dict):
            return 0, [], 0
        changed = [name for name, value in begun.items() if before.get(name) != value]
        if changed:
            return 0, changed, 0
        done, end = 0, len(head)
        for line, images in zip(self._stream, batches, strict=False):
            rows = _value(line)
            if not isinstance(rows, list) or len(rows) != images:
                break
            done, end = done + 1, end + len(line)
        return done, [], end

    def _write(self, value: Any) -> None:
        self._stream.write(strict_json(value, indent=None).encode() + b"\n")
        self._stream.flush()


def _value(line: bytes) -> Any:
    """Return the value of a whole line of JSON, else None."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
