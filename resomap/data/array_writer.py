"""Writing of prepared images: arrays of each split at each size, by several processes that decode each image once."""

import errno
import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resomap.core.errors import ResomapError
from resomap.core.files import sync_directory
from resomap.core.temporary import temporary_beside
from resomap.data.location import Load
from resomap.data.picture import Picture
from resomap.data.streamed import streamed
from resomap.data.verified_pixels import Summary

Pictures = Mapping[str, Sequence[Picture]]  # of each split
Arrays = Mapping[str, Path]


class NoSpace(ResomapError):
    """The disk has no room for the arrays; the message says what to do."""


class NoSpaceWhileWriting(Exception):
    """The disk filled up under the arrays, which are gone again."""


@dataclass(frozen=True)
class _Row:
    """Row of an array that an image's pixels go to, at one size in pixels; `array` None: they are not stored."""

    size: int
    array: Path | None = None
    offset: int = 0  # bytes


@dataclass(frozen=True)
class _Task:
    """One image to prepare, and its row at each size."""

    picture: Picture
    rows: tuple[_Row, ...]


def read_images(pictures: Pictures, sizes: Sequence[int], workers: int) -> list[dict[str, list[Summary]]]:
    """Prepare the images for their summaries without storing them; returns those of each size, by split."""
    rows = tuple(map(_Row, sizes))
    tasks = [_Task(picture, rows) for inside in pictures.values() for picture in inside]
    return _by_size(_summaries(tasks, workers, "read"), pictures, len(sizes))


def write_arrays(
    pictures: Pictures, stores: Sequence[tuple[int, Arrays]], workers: int
) -> list[dict[str, list[Summary]]]:
    """Write the arrays of several sizes in pixels; returns the summaries of each size, by split.

    An array gets its name when all are written. Raises NoSpaceWhileWriting where the disk fills up.
    """
    temporary = [{split: temporary_beside(path) for split, path in arrays.items()} for _, arrays in stores]
    try:
        places: list[Iterator[_Row]] = []
        for (size, _), own in zip(stores, temporary, strict=True):
            places.append(itertools.chain.from_iterable([_reserved(own[one], size, pictures[one]) for one in pictures]))
        images = itertools.chain.from_iterable(pictures.values())
        tasks = [_Task(picture, tuple(rows)) for picture, *rows in zip(images, *places, strict=True)]
        written = _by_size(_summaries(tasks, workers, "prepared"), pictures, len(stores))
        for (_, arrays), own in zip(stores, temporary, strict=True):
            for split, path in own.items():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
                os.replace(path, arrays[split])
            for place in {path.parent for path in arrays.values()}:
                sync_directory(place)
        return written
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpaceWhileWriting from None
        raise
    finally:
        for own in temporary:
            for path in own.values():
                path.unlink(missing_ok=True)


def _reserved(path: Path, size: int, pictures: Sequence[Picture]) -> list[_Row]:
    """Make an array's file with its space reserved; return the row of each picture."""
    row_shape = (size, size, pictures[0].channels)
    start = _reserve(path, (len(pictures), *row_shape))
    return [_Row(size, path, start + number * math.prod(row_shape)) for number in range(len(pictures))]


def _summaries(tasks: Sequence[_Task], workers: int, what: str) -> list[list[Summary]]:
    return streamed(_write_rows, [(task.picture.location, task) for task in tasks], workers, what)


def _by_size(summaries: Sequence[Sequence[Summary]], pictures: Pictures, sizes: int) -> list[dict[str, list[Summary]]]:
    """Sort summaries, of each image at each size in the order of the pictures, by size and split."""
    found: list[dict[str, list[Summary]]] = []
    for number in range(sizes):
        of_size = iter([each[number] for each in summaries])
        found.append({split: list(itertools.islice(of_size, len(inside))) for split, inside in pictures.items()})
    return found


def _reserve(path: Path, shape: tuple[int, ...]) -> int:
    """Make a .npy file with its space reserved, so that a full disk shows now; return the offset of its data."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        offset = stream.tell()
        stream.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, offset + math.prod(shape))
        else:  # macOS
            stream.truncate(offset + math.prod(shape))
        return offset


def _write_rows(task: _Task, load: Load) -> list[Summary]:
    """Prepare one image in a worker process, and write its row at each size.

    By pwrite, not through a memory map: there a full disk kills the process.
    """
    found = []
    for row, pixels in zip(task.rows, task.picture.pixels_at([row.size for row in task.rows], load), strict=True):
        if row.array is not None:
            _write_at(row.array, row.offset, pixels.tobytes())
        found.append(Summary.of(pixels))
    return found


def _write_at(array: Path, offset: int, content: bytes) -> None:
    descriptor = os.open(array, os.O_WRONLY)
    try:
        done = 0
        while done < len(content):
            done += os.pwrite(descriptor, content[done:], offset + done)
    finally:
        os.close(descriptor)
