"""Files of a recorded grid, `benchmarks/recorded/<grid>/`, and their reader: `load(name)`.

grid.json says what was recorded, images.npz has the labels, and each seed<k>.npz has all cells of one seed. A seed file
is written last and whole, so a grid counts the seeds whose files are there.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.record.compact import unpack
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, replace_atomically, write_json

RECORDED = Path(__file__).parents[1] / "recorded"
SCHEMA = 1
Epoch = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class RecordedGrid:
    """A grid of S seeds x Q squares (model, resolution) x E epochs, with V validation and P pool images of C classes.

    Accuracy in the pool, of images that no training and no choice has seen, is what validation accuracy estimates.
    """

    name: str
    kind: str  # of images: elpv, digits, textures, shapes
    squares: tuple[tuple[str, int], ...]  # Q; model and resolution in pixels
    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    flops: np.ndarray  # int64 [Q], of one image's forward pass
    params: np.ndarray  # int64 [Q]
    train_counts: np.ndarray  # int64 [C], training images of each class
    val_labels: np.ndarray  # int64 [V]
    pool_labels: np.ndarray  # int64 [P]
    val_groups: np.ndarray | None  # int64 [V], where images belong together
    pool_groups: np.ndarray | None  # int64 [P]
    predicted: np.ndarray  # uint8 [S, Q, E, V], predicted class after each epoch
    best_epoch: np.ndarray  # int64 [S, Q], from 1, by the loss on validation
    history: dict[str, np.ndarray]  # name -> float32 [S, Q, E]; NaN where undefined
    seconds: np.ndarray  # float32 [S, Q, E], of an epoch's steps
    planes: dict[str, tuple[dict[tuple[int, int], np.ndarray], ...]]  # split -> seed -> (square, epoch) -> packed

    @property
    def epochs(self) -> int:
        """E."""
        return self.predicted.shape[2]

    @cached_property
    def val(self) -> np.ndarray:
        """Log-probabilities float32 [S, Q, V, C] of the validation images after each cell's best epoch."""
        return self.log_probabilities("val")

    @cached_property
    def pool(self) -> np.ndarray:
        """Log-probabilities float32 [S, Q, P, C] of the pool after each cell's best epoch."""
        return self.log_probabilities("pool")

    def log_probabilities(self, split: Literal["val", "pool"], epoch: Epoch = "best") -> np.ndarray:
        """Return log-probabilities float32 [S, Q, images, C] after each cell's best or last epoch."""
        epochs = self.best_epoch if epoch == "best" else np.full_like(self.best_epoch, self.epochs)
        return np.stack(
            [
                np.stack([unpack(self.planes[split][seed][square, int(at)]) for square, at in enumerate(row)])
                for seed, row in enumerate(epochs)
            ]
        )


def names(directory: Path = RECORDED) -> list[str]:
    """Return the names of all grids of which at least one seed is on record."""
    return sorted({path.parent.name for path in directory.glob("*/seed*.npz")})


def load(name: str, directory: Path = RECORDED) -> RecordedGrid:
    """Read a grid with all its seeds. Raises ResomapError where none is there, or files do not belong together."""
    place = directory / name
    about: Any = read_json(place / "grid.json")
    files = seed_files(place)
    if about is None or not files:
        known = ", ".join(names(directory)) or "none"
        raise ResomapError(f"{place} holds no recorded grid; recorded are: {known}")
    if about["schema"] != SCHEMA:
        raise ResomapError(f"{place} was written in form {about['schema']}, and this checkout reads {SCHEMA}")
    images = read_arrays(place / "images.npz")
    found = [read_arrays(path) for path in files.values()]
    for path, one in zip(files.values(), found, strict=True):
        if str(one["definition"]) != about["definition"]:
            raise ResomapError(f"{path} was recorded by another definition of the grid; remove it and record it again")
    history = np.stack([one["history"] for one in found])
    return RecordedGrid(
        name=name,
        kind=about["kind"],
        squares=tuple((model, resolution) for model, resolution in about["squares"]),
        seeds=tuple(files),
        classes=tuple(about["classes"]),
        flops=found[0]["flops"],
        params=found[0]["params"],
        train_counts=images["train_counts"],
        val_labels=images["val_labels"].astype(np.int64),
        pool_labels=images["pool_labels"].astype(np.int64),
        val_groups=images.get("val_groups"),
        pool_groups=images.get("pool_groups"),
        predicted=np.stack([one["predicted"] for one in found]),
        best_epoch=np.stack([one["best_epoch"] for one in found]),
        history={metric: history[:, :, row] for row, metric in enumerate(about["history"])},
        seconds=np.stack([one["seconds"] for one in found]),
        planes={split: tuple(_by_epoch(one, split) for one in found) for split in ("val", "pool")},
    )


def seed_files(place: Path) -> dict[int, Path]:
    """Return the seeds of a grid that are on record, in order, with their files."""
    found = {int(path.stem.removeprefix("seed")): path for path in place.glob("seed*.npz")}
    return dict(sorted(found.items()))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as a compressed npz, atomically; the same arrays make the same bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    replace_atomically(path, lambda stream: stream.write(content.getbuffer()))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an npz into memory. Raises ResomapError where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise ResomapError(f"{path} cannot be read ({error}); remove it and record it again") from None


def write_about(place: Path, about: dict[str, Any]) -> None:
    """Write grid.json."""
    write_json(place / "grid.json", {"schema": SCHEMA} | about)


def _by_epoch(arrays: dict[str, np.ndarray], split: str) -> dict[tuple[int, int], np.ndarray]:
    kept = arrays["kept"]  # int16 [rows, 2]: square and epoch of each row
    return {(int(square), int(epoch)): arrays[split][:, row] for row, (square, epoch) in enumerate(kept)}
