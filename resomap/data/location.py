"""Location of an image's bytes: a file of its own, a stretch of a tar archive, or a row of a Parquet file.

Light: pyarrow is imported where a row is read, in the process that reads it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resomap.data.damage import DamagedImage

BYTES = "bytes"  # field of the struct in which `datasets` keeps an image's content
PATH = "path"  # and its path, if it has one
_ROWS_AT_ONCE = 64  # of a row group: it may be as long as its file


@dataclass(frozen=True, slots=True)
class InFile:
    """A file that is the image."""

    path: Path

    def read(self) -> bytes:
        """Return the content. Raises DamagedImage where it cannot be read, or is no ordinary file."""
        if self.path.exists() and not self.path.is_file():  # a named pipe would be waited for
            raise DamagedImage("not an image", "not an ordinary file")
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DamagedImage("unreadable", error.strerror or str(error)) from None


@dataclass(frozen=True, slots=True)
class InTar:
    """A member of an uncompressed tar archive, which is read in place."""

    archive: Path
    offset: int  # bytes
    size: int  # bytes

    def read(self) -> bytes:
        """Return the content. Raises DamagedImage where the archive cannot be read, or ends before."""
        try:
            descriptor = os.open(self.archive, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = os.pread(descriptor, self.size, self.offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DamagedImage("unreadable", error.strerror or str(error)) from None
        if len(content) < self.size:
            raise DamagedImage("truncated or damaged", f"{self.archive.name} ends inside it")
        return content


@dataclass(frozen=True, slots=True)
class InParquet:
    """A row of a Parquet file. Its bytes are inside a compressed row group, so rows are read by whole groups."""

    file: Path
    column: str
    row_group: int
    row: int  # within the row group


Location = InFile | InTar | InParquet
Load = Callable[[], bytes]  # raises DamagedImage


def loads(locations: Sequence[Location]) -> Iterator[Load]:
    """Yield what reads each image, in order, each to be called before the next is asked for.

    Rows of Parquet are of one row group, in their order: it is read through once.
    """
    if isinstance(locations[0], InParquet):
        yield from _row_loads([one for one in locations if isinstance(one, InParquet)])
        return
    for one in locations:
        assert not isinstance(one, InParquet)
        yield one.read


def _row_loads(rows: Sequence[InParquet]) -> Iterator[Load]:
    contents = _contents(rows)
    damage = None
    for _ in rows:
        content: bytes | None = None
        if damage is None:
            try:
                content = next(contents)
            except Exception as error:  # a damaged page makes Arrow raise several kinds
                words = " ".join(str(error).split()) or type(error).__name__
                damage = f"row group {rows[0].row_group} of {rows[0].file.name} cannot be read: {words}"
        yield _load_of(content, damage)


def _load_of(content: bytes | None, damage: str | None) -> Load:
    def load() -> bytes:
        if damage is not None:
            raise DamagedImage("truncated or damaged", damage)
        if content is None:
            raise DamagedImage("unreadable", "its row holds no bytes")
        return content

    return load


def _contents(rows: Sequence[InParquet]) -> Iterator[bytes | None]:
    """Yield the bytes of rows of one row group, in ascending order; None for a row without."""
    import pyarrow.parquet as parquet

    wanted = iter(one.row for one in rows)
    row = next(wanted)
    with parquet.ParquetFile(rows[0].file, memory_map=True) as file:
        column = rows[0].column
        start = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[rows[0].row_group], columns=[column]):
            while row < start + len(batch):
                value = batch.column(0)[row - start].as_py()
                yield value.get(BYTES) if isinstance(value, dict) else value
                following = next(wanted, None)
                if following is None:
                    return
                row = following
            start += len(batch)
    raise ValueError("it has fewer rows than when the images were listed")
