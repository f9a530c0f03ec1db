"""Recorder of grids: trains every cell of a seed in turn, and goes on at the next cell after any kind of end.

The finished cells of a seed that is under way lie in a folder `unfinished`; when all are there they become one file.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.record.cell_training import HISTORY, CellRecord, ScaledImages, train_cell
from benchmarks.record.grids import GridDefinition
from benchmarks.record.image_sets import ImageSet
from benchmarks.record.recorded_grid import read_arrays, seed_files, write_about, write_arrays
from resomap.compute.device import choose_device
from resomap.compute.environment import environment
from resomap.core.errors import ResomapError

UNFINISHED = "unfinished"
Say = Callable[[str], None]


class GridRecorder:
    """Recorder of one grid into its folder. Its images are drawn once, when the first cell needs them."""

    def __init__(self, grid: GridDefinition, directory: Path, say: Say, threads: int = 1) -> None:
        self._grid, self._place, self._say, self._threads = grid, directory / grid.name, say, threads
        self._scaled: dict[int, ScaledImages] = {}

    def missing(self, seeds: int) -> list[int]:
        """Return those of the first seeds that are not on record."""
        recorded = seed_files(self._place)
        return [seed for seed in range(seeds) if seed not in recorded]

    def record(self, seed: int) -> None:
        """Train each cell of a seed that is not there yet, then put them into the seed's file.

        Raises ResomapError where other seeds of the grid were recorded by other settings, or of other images.
        """
        for path in seed_files(self._place).values():
            self._require_same(path)
        unfinished = self._place / UNFINISHED
        files = [unfinished / f"seed{seed}.{model}.{resolution}.npz" for model, resolution in self._grid.squares]
        for (model, resolution), path in zip(self._grid.squares, files, strict=True):
            if path.exists() and self._is_ours(path):
                continue
            began = time.monotonic()
            record = train_cell(model, self._at(resolution), self._grid.training, seed, self._threads)
            write_arrays(path, _cell_arrays(record) | {"definition": np.array(self._definition)})
            accuracy = record.history[HISTORY.index("val/accuracy"), record.best_epoch - 1]
            self._say(
                f"{self._grid.name} {model}@{resolution}.seed{seed}: validation accuracy {accuracy:.3f}, "
                f"{time.monotonic() - began:.1f} s"
            )
        self._describe()
        write_arrays(self._place / f"seed{seed}.npz", self._joined(files))
        for path in files:
            path.unlink()
        if not any(unfinished.iterdir()):
            shutil.rmtree(unfinished)

    def _joined(self, files: list[Path]) -> dict[str, np.ndarray]:
        """Arrays of all cells of a seed, with the squares in front; `kept` tells the rows of `val` and `pool`."""
        cells = [read_arrays(path) for path in files]
        squares = [np.full(len(one["kept_epochs"]), square) for square, one in enumerate(cells)]
        epochs = np.concatenate([one["kept_epochs"] for one in cells])
        stacked = ("predicted", "best_epoch", "history", "seconds", "flops", "params")
        return {
            "definition": np.array(self._definition),
            "kept": np.stack([np.concatenate(squares), epochs], axis=1).astype(np.int16),
            **{name: np.stack([one[name] for one in cells]) for name in stacked},
            **{name: np.concatenate([one[name] for one in cells], axis=1) for name in ("val", "pool")},
        }

    @cached_property
    def _images(self) -> ImageSet:
        return self._grid.draw()

    @cached_property
    def _definition(self) -> str:
        """Digest of what decides a cell beside its seed and the versions of libraries: settings and pixels."""
        grid = self._grid
        decides = {
            "squares": grid.squares,
            "training": sorted(grid.training.model_dump().items()),
            "threads": self._threads,
            "images": self._images.digest,
        }
        return hashlib.sha256(repr(decides).encode()).hexdigest()[:12]

    def _at(self, resolution: int) -> ScaledImages:
        if resolution not in self._scaled:
            images = self._images
            splits = (one.at(resolution) for one in (images.train, images.val, images.pool))
            self._scaled[resolution] = ScaledImages(resolution, len(images.classes), *splits)
        return self._scaled[resolution]

    def _describe(self) -> None:
        """Write what every seed shares: grid.json and the labels."""
        images, grid = self._images, self._grid
        counts = np.bincount(images.train.labels, minlength=len(images.classes))
        arrays: dict[str, np.ndarray] = {"train_counts": counts}
        for name, split in (("val", images.val), ("pool", images.pool)):
            arrays[f"{name}_labels"] = split.labels.astype(np.uint8)
            if split.groups is not None:
                arrays[f"{name}_groups"] = split.groups
        write_arrays(self._place / "images.npz", arrays)
        write_about(
            self._place,
            {
                "name": grid.name,
                "kind": grid.kind,
                "about": grid.about,
                "definition": self._definition,
                "squares": grid.squares,
                "classes": images.classes,
                "images": {"train": len(images.train.labels), "val": len(images.val.labels)}
                | {"pool": len(images.pool.labels)},
                "history": HISTORY,
                "training": grid.training.model_dump(),
                "threads": self._threads,
                "environment": environment(choose_device("cpu")),
            },
        )

    def _is_ours(self, path: Path) -> bool:
        return str(read_arrays(path)["definition"]) == self._definition

    def _require_same(self, path: Path) -> None:
        if not self._is_ours(path):
            raise ResomapError(
                f"{path} was recorded by another definition of the grid; remove {path.parent} to record it anew, "
                "or name another folder by --to"
            )


@contextmanager
def only_recorder(directory: Path) -> Iterator[None]:
    """Hold a folder for one recorder. Raises ResomapError where another one is at work in it."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)  # the folder itself is locked, so that no file lies about
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ResomapError(
            f"another recorder is at work in {directory}; wait for it, or name another folder by --to"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _cell_arrays(record: CellRecord) -> dict[str, np.ndarray]:
    return {field.name: np.asarray(getattr(record, field.name)) for field in fields(record)}
