"""Prepare the images at one or several sizes: an array a split, and store.json last, which says that they are whole.

Each image is decoded once for all sizes. Without arrays, where the disk is short or the configuration says so,
store.json says that instead (see ondemand.py).
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resomap.core.files import write_json
from resomap.core.sealed_json import sealed
from resomap.data.array_writer import NoSpace, NoSpaceWhileWriting, read_images, write_arrays
from resomap.data.manifest import Entry, Manifest
from resomap.data.store import FILE, SCHEMA, array_file, pictures_of, store_directory
from resomap.data.verified_pixels import Summary, block_digests, joint_digest, mean_and_std

ROOM = 1.25  # of the arrays: with `auto` the rest of the disk is for checkpoints
OnDisk = Literal["auto", "always", "never"]
Written = dict[str, list[Summary]]  # of each image of a split


@dataclass(frozen=True)
class _NewStore:
    """A store that is being made: the images of a manifest at one size, in pixels, and the folder that they go to."""

    manifest: Manifest
    size: int
    place: Path

    def begin(self) -> None:
        """Make the folder; from here on the store is unfinished."""
        self.place.mkdir(parents=True, exist_ok=True)
        (self.place / FILE).unlink(missing_ok=True)

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shape of each split's array."""
        size, channels = self.size, self.manifest.channels
        return {split: [len(self.manifest.of(split)), size, size, channels] for split in self.manifest.splits}

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def arrays(self) -> dict[str, Path]:
        """Path of each split's array."""
        return {split: array_file(self.place, split) for split in self.manifest.splits}

    def finish(self, written: Written, is_stored: bool) -> None:
        """Write store.json. `written`: of each image of a split, as it was prepared."""
        manifest, size = self.manifest, self.size
        entries = {split: manifest.of(split) for split in manifest.splits}
        row_bytes = size * size * manifest.channels if is_stored else 0
        splits = {
            split: {
                "shape": self.shapes[split],
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
        statistics = mean_and_std(written["train"], size) | _of_folds(entries["train"], written["train"], size)
        description = _description(manifest, size) | {"is_stored": is_stored}
        write_json(self.place / FILE, sealed(description | statistics | {"splits": splits}))


def prepare_images(
    directory: Path,
    resolution: int,
    workers: int,
    on_disk: OnDisk = "always",
    further: Mapping[int, Path] | None = None,
) -> list[int]:
    """Decode, resize and store all images of `directory/manifest.json` under `directory/<resolution>/`.

    `on_disk`: with `never` nothing but the description is stored; with `auto` neither, where the disk is short.
    `further`: other sizes in pixels to prepare at the same time, with the folders that they go to; they are left out
    where the disk has no room for all. Returns the sizes that were prepared. The bytes do not depend on the number of
    workers or on what else is prepared. Raises ResomapError: no manifest, no space (said before anything is written
    where that can be known); PermanentFailure: a file changed since it was checked.
    """
    manifest = Manifest.load(directory)
    own = _NewStore(manifest, resolution, store_directory(directory, resolution))
    stores = [own, *(_NewStore(manifest, size, place) for size, place in (further or {}).items())]
    if manifest.image_column is not None:
        on_disk = "always"  # rows of Parquet are not read one by one, so there is no other way
    for store in stores:
        store.begin()
    written: list[Written] | None = None
    if on_disk != "never":
        if len(stores) > 1 and not _has_room(stores, on_disk):
            stores = [own]
        written = _try_to_write(stores, workers, on_disk)
    is_stored = written is not None
    if written is None:
        for store in stores:
            for array in store.arrays.values():
                array.unlink(missing_ok=True)  # of before
        written = read_images(_pictures(own), [store.size for store in stores], workers)
    for store, of_store in zip(stores, written, strict=True):
        store.finish(of_store, is_stored)
    return [store.size for store in stores]


def _pictures(store: _NewStore) -> dict[str, list[Any]]:
    return {split: pictures_of(store.manifest, split, store.size) for split in store.manifest.splits}


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


def _has_room(stores: Sequence[_NewStore], on_disk: OnDisk) -> bool:
    total = sum(store.bytes for store in stores)
    return shutil.disk_usage(stores[0].place).free >= total * (ROOM if on_disk == "auto" else 1)


def _try_to_write(stores: Sequence[_NewStore], workers: int, on_disk: OnDisk) -> list[Written] | None:
    """Write the arrays; return None where there is no room for them, and there need not be."""
    own, total = stores[0], sum(store.bytes for store in stores)
    count = sum(len(own.manifest.of(split)) for split in own.manifest.splits)
    sizes = " and ".join(f"{store.size}" for store in stores)
    print(f"preparing {count:,} images at {sizes} pixels: {_gigabytes(total)}", flush=True)
    try:
        if not _has_room(stores, on_disk):
            free = shutil.disk_usage(own.place).free
            raise _no_space(own.place, f"{_gigabytes(total)} are needed and {_gigabytes(free)} are free")
        try:
            return write_arrays(_pictures(own), [(store.size, store.arrays) for store in stores], workers)
        except NoSpaceWhileWriting:
            raise _no_space(own.place, "it filled up while they were written") from None
    except NoSpace as error:
        if on_disk == "always":
            raise
        print(
            f"{str(error).partition(';')[0]}; so images of {sizes} pixels are decoded anew for each "
            f"batch, which is slower: free some space and remove {own.place} to have them stored",
            flush=True,
        )
        return None


def _no_space(place: Path, what: str) -> NoSpace:
    return NoSpace(
        f"the disk of {place.absolute()} is too full for the prepared images: {what}; free some space, "
        "run in another directory with `snakemake --directory`, or decode them anew for each batch (--config "
        "'data={on_disk: never}')"
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
