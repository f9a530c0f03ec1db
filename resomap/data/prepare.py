"""Prepare the images at one resolution: write an array a split, and store.json last, which says that they are whole.

Without arrays, where the disk is short or the configuration says so, store.json says that instead (see ondemand.py).
"""

import errno
import itertools
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resomap.core.errors import ResomapError
from resomap.core.files import sync_directory, write_json
from resomap.core.sealed_json import sealed
from resomap.core.temporary import temporary_beside
from resomap.data.location import Load
from resomap.data.manifest import Entry, Manifest
from resomap.data.picture import Picture
from resomap.data.store import FILE, SCHEMA, array_file, pictures_of, store_directory
from resomap.data.streamed import streamed
from resomap.data.verified_pixels import Summary, block_digests, joint_digest, mean_and_std

ROOM = 1.25  # of the arrays: with `auto` the rest of the disk is for checkpoints
OnDisk = Literal["auto", "always", "never"]


class _NoSpace(ResomapError):
    pass


@dataclass(frozen=True)
class _Row:
    """One image to prepare, and the place of its pixels in an array; None: they are not stored."""

    picture: Picture
    array: Path | None
    offset: int = 0  # bytes


def prepare_images(directory: Path, resolution: int, workers: int, on_disk: OnDisk = "always") -> None:
    """Decode, resize and store all images of `directory/manifest.json` under `directory/<resolution>/`.

    `on_disk`: with `never` nothing but the description is stored; with `auto` neither, where the disk is short.
    The bytes do not depend on the number of workers. Raises ResomapError: no manifest, no space (said before
    anything is written where that can be known); PermanentFailure: a file changed since it was checked.
    """
    manifest = Manifest.load(directory)
    place = store_directory(directory, resolution)
    pictures = {split: pictures_of(manifest, split, resolution) for split in manifest.splits}
    if manifest.image_column is not None:
        on_disk = "always"  # rows of Parquet are not read one by one, so there is no other way
    place.mkdir(parents=True, exist_ok=True)
    (place / FILE).unlink(missing_ok=True)  # from here on the store is unfinished
    written = None if on_disk == "never" else _try_to_write(place, pictures, workers, on_disk)
    is_stored = written is not None
    if written is None:
        written = _read_only(place, pictures, workers)
    entries = {split: manifest.of(split) for split in manifest.splits}
    row_bytes = resolution * resolution * manifest.channels if is_stored else 0
    splits = {
        split: {
            "shape": [len(entries[split]), resolution, resolution, manifest.channels],
            "digest": joint_digest(row.digest for row in written[split]),
            "blocks": block_digests([row.digest for row in written[split]], row_bytes),
            "labels": [entry.label for entry in entries[split]],
            "names": [entry.name for entry in entries[split]],
        }
        for split in manifest.splits
    }
    for split, inside in entries.items():
        if any(entry.weight is not None for entry in inside):
            splits[split]["weights"] = [entry.weight for entry in inside]
    statistics = mean_and_std(written["train"], resolution) | _of_folds(entries["train"], written["train"], resolution)
    description = _description(manifest, resolution) | {"is_stored": is_stored}
    write_json(place / FILE, sealed(description | statistics | {"splits": splits}))


def _of_folds(entries: Sequence[Entry], rows: Sequence[Summary], resolution: int) -> dict[str, Any]:
    """Return the fold of each image outside the test split, and mean and deviation of those that each fold trains on.

    Empty without folds.
    """
    folds = [entry.fold for entry in entries]
    if None in folds:
        return {}
    found = {}
    for fold in sorted({fold for fold in folds if fold is not None}):
        trained = [row for row, own in zip(rows, folds, strict=True) if own != fold]
        found[str(fold)] = mean_and_std(trained, resolution)
    return {"folds": folds, "statistics_of_folds": found}


def _description(manifest: Manifest, resolution: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "resolution": resolution,
        "content_digest": manifest.content_digest,
        "fit": manifest.fit,
        "white_level": manifest.white_level,
        "channels": manifest.channels,
        "classes": manifest.classes,
        "native_size": manifest.native_size["median"],
    }


def _try_to_write(
    place: Path, pictures: Mapping[str, Sequence[Picture]], workers: int, on_disk: OnDisk
) -> dict[str, list[Summary]] | None:
    """Write the arrays; return None where there is no room for them, and there need not be."""
    everything = [picture for split in pictures.values() for picture in split]
    total = sum(picture.size**2 * picture.channels for picture in everything)
    print(f"preparing {len(everything):,} images at {everything[0].size} pixels: {_gigabytes(total)}", flush=True)
    try:
        free = shutil.disk_usage(place).free
        if free < total * (ROOM if on_disk == "auto" else 1):
            raise _no_space(place, f"{_gigabytes(total)} are needed and {_gigabytes(free)} are free")
        return _write_arrays(place, pictures, workers)
    except _NoSpace as error:
        if on_disk == "always":
            raise
        print(
            f"{str(error).partition(';')[0]}; so images of {everything[0].size} pixels are decoded anew for each "
            f"batch, which is slower: free some space and remove {place} to have them stored",
            flush=True,
        )
        return None


def _read_only(place: Path, pictures: Mapping[str, Sequence[Picture]], workers: int) -> dict[str, list[Summary]]:
    """Prepare the images for their digests and statistics without storing them; delete arrays of before."""
    for split in pictures:
        array_file(place, split).unlink(missing_ok=True)
    rows = [_Row(picture, None) for inside in pictures.values() for picture in inside]
    return _by_split(_streamed(rows, workers, "read"), pictures)


def _streamed(rows: Sequence[_Row], workers: int, what: str) -> list[Summary]:
    return streamed(_write_row, [(row.picture.location, row) for row in rows], workers, what)


def _write_arrays(place: Path, pictures: Mapping[str, Sequence[Picture]], workers: int) -> dict[str, list[Summary]]:
    temporary = {split: temporary_beside(array_file(place, split)) for split in pictures}
    rows = []
    try:
        for split, inside in pictures.items():
            row_shape = (inside[0].size, inside[0].size, inside[0].channels)
            offset = _reserve(temporary[split], (len(inside), *row_shape))
            starts = itertools.count(offset, math.prod(row_shape))
            rows += [_Row(picture, temporary[split], start) for picture, start in zip(inside, starts, strict=False)]
        written = _by_split(_streamed(rows, workers, "prepared"), pictures)
        for split, path in temporary.items():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
            os.replace(path, array_file(place, split))
        sync_directory(place)
        return written
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(place, "it filled up while they were written") from None
        raise
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _by_split(written: Iterable[Summary], pictures: Mapping[str, Sequence[Picture]]) -> dict[str, list[Summary]]:
    results = iter(list(written))
    return {split: list(itertools.islice(results, len(inside))) for split, inside in pictures.items()}


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


def _write_row(row: _Row, load: Load) -> Summary:
    """Prepare one image in a worker process, and write its row of the array.

    By pwrite, not through a memory map: there a full disk kills the process.
    """
    pixels = row.picture.pixels_of(load)
    content = pixels.tobytes()
    if row.array is not None:
        _write_at(row.array, row.offset, content)
    return Summary.of(pixels)


def _write_at(array: Path, offset: int, content: bytes) -> None:
    descriptor = os.open(array, os.O_WRONLY)
    try:
        done = 0
        while done < len(content):
            done += os.pwrite(descriptor, content[done:], offset + done)
    finally:
        os.close(descriptor)


def _no_space(place: Path, what: str) -> _NoSpace:
    return _NoSpace(
        f"the disk of {place.absolute()} is too full for the prepared images: {what}; free some space, "
        "run in another directory with `snakemake --directory`, or decode them anew for each batch (--config "
        "'data={on_disk: never}')"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
