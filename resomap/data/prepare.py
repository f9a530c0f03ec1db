"""Writes the images at one resolution: three arrays, and store.json last, which says that they are whole."""

import errno
import hashlib
import itertools
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resomap.data.decode import DamagedImage, decode_bytes, read_bytes, resize
from resomap.data.manifest import Entry, Manifest
from resomap.data.pool import in_order
from resomap.data.source import root_of
from resomap.data.store import FILE, SCHEMA, SPLITS, array_file, store_directory
from resomap.errors import PermanentFailure, ResomapError
from resomap.files import sync_directory, write_json

_SMALLEST_STD = 1 / 255  # images that are all of one colour must not be divided by zero


@dataclass(frozen=True)
class _Row:
    """One image's way into its array."""

    image: Path
    sha256: str
    array: Path
    offset: int  # bytes
    size: int  # pixels
    channels: int
    fit: str


@dataclass(frozen=True)
class _Written:
    """What a row left behind: the digest of its bytes; per channel the sums of values and of squares."""

    digest: str
    sums: tuple[int, ...]
    squares: tuple[int, ...]


def prepare_images(directory: Path, resolution: int, workers: int) -> None:
    """Decode, resize and store all images of `directory/manifest.json` under `directory/<resolution>/`.

    The bytes do not depend on the number of workers. Raises ResomapError: no manifest, no space (said before
    anything is written where that can be known); PermanentFailure: a file changed since it was checked.
    """
    manifest = Manifest.load(directory)
    place = store_directory(directory, resolution)
    row_bytes = resolution * resolution * manifest.channels
    total = row_bytes * len(manifest.entries)
    print(f"preparing {len(manifest.entries):,} images at {resolution} pixels: {_gigabytes(total)}", flush=True)
    place.mkdir(parents=True, exist_ok=True)
    (place / FILE).unlink(missing_ok=True)  # from here on the store is unfinished
    free = shutil.disk_usage(place).free
    if free < total:
        raise _no_space(place, f"{_gigabytes(total)} are needed and {_gigabytes(free)} are free")
    entries = {split: [entry for entry in manifest.entries if entry.split == split] for split in SPLITS}
    written = _write_arrays(place, entries, manifest, resolution, workers)
    splits = {
        split: {
            "shape": [len(entries[split]), resolution, resolution, manifest.channels],
            "digest": hashlib.sha256("".join(row.digest for row in written[split]).encode()).hexdigest(),
            "labels": [entry.label for entry in entries[split]],
            "names": [entry.name for entry in entries[split]],
        }
        for split in SPLITS
    }
    statistics = _mean_and_std(written["train"], resolution)
    write_json(place / FILE, _description(manifest, resolution) | statistics | {"splits": splits})


def _description(manifest: Manifest, resolution: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "resolution": resolution,
        "content_digest": manifest.content_digest,
        "fit": manifest.fit,
        "channels": manifest.channels,
        "classes": manifest.classes,
        "native_size": manifest.native_size["median"],
    }


def _write_arrays(
    place: Path, entries: dict[str, list[Entry]], manifest: Manifest, size: int, workers: int
) -> dict[str, list[_Written]]:
    root = root_of(manifest.source)
    # Fixed names, so that what a kill left behind is written over.
    temporary = {split: place / f".{split}.npy.tmp" for split in entries}
    row_shape = (size, size, manifest.channels)
    rows = []
    try:
        for split, inside in entries.items():
            offset = _reserve(temporary[split], (len(inside), *row_shape))
            for number, entry in enumerate(inside):
                start = offset + number * math.prod(row_shape)
                image = root / entry.name
                rows.append(_Row(image, entry.sha256, temporary[split], start, size, manifest.channels, manifest.fit))
        results = iter(list(in_order(_write_row, rows, workers, "prepared")))
        for split, path in temporary.items():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(path, array_file(place, split))
        sync_directory(place)
        return {split: list(itertools.islice(results, len(inside))) for split, inside in entries.items()}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(place, "it filled up while they were written") from None
        raise
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _reserve(path: Path, shape: tuple[int, ...]) -> int:
    """Make a .npy file with its space taken, so that a full disk shows now; the offset of its data."""
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        offset = stream.tell()
        stream.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, offset + math.prod(shape))
        else:  # macOS
            stream.truncate(offset + math.prod(shape))
        return offset


def _write_row(row: _Row) -> _Written:
    """Runs in a worker. Written by pwrite, not through a memory map: there a full disk kills the process."""
    try:
        file = read_bytes(row.image)
        if hashlib.sha256(file).hexdigest() != row.sha256:
            raise DamagedImage("changed", "its content is another one")
        pixels = resize(decode_bytes(file)[0], row.size, row.fit)
    except DamagedImage as damage:
        raise PermanentFailure(
            f"{row.image} was fine when the images were checked and now is {damage}; remove manifest.json "
            "beside the prepared images and run the same snakemake command again, which checks them anew"
        ) from None
    pixels = np.ascontiguousarray(np.broadcast_to(pixels, (row.size, row.size, row.channels)))
    content = pixels.tobytes()
    descriptor = os.open(row.array, os.O_WRONLY)
    try:
        done = 0
        while done < len(content):
            done += os.pwrite(descriptor, content[done:], row.offset + done)
    finally:
        os.close(descriptor)
    flat = pixels.reshape(-1, row.channels).astype(np.int64)
    return _Written(
        hashlib.sha256(content).hexdigest(),
        tuple(int(value) for value in flat.sum(axis=0)),
        tuple(int(value) for value in (flat * flat).sum(axis=0)),
    )


def _mean_and_std(rows: list[_Written], size: int) -> dict[str, list[float]]:
    """Per channel, of values scaled to 0..1. Summed as whole numbers, so that no order changes a digit."""
    number = len(rows) * size * size
    mean, std = [], []
    for channel in range(len(rows[0].sums)):
        total = sum(row.sums[channel] for row in rows)
        squares = sum(row.squares[channel] for row in rows)
        mean.append(total / number / 255)
        std.append(max(_SMALLEST_STD, math.sqrt(number * squares - total * total) / number / 255))
    return {"mean": mean, "std": std}


def _no_space(place: Path, what: str) -> ResomapError:
    return ResomapError(
        f"the disk of {place.absolute()} is too full for the prepared images: {what}; free some space, or "
        "run in another directory with `snakemake --directory`"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
