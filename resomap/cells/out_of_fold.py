"""Out-of-fold predictions of a cell: what its training said of the images of its own fold after each epoch.

While a fold's cell trains, each epoch is a record of `epochs.bin` beside its checkpoints, written before any checkpoint
that counts the epoch; a resumed training writes the same bytes over those of epochs that it makes again. Once it is
finished they are one archive beside its marker, `results/<model>/<resolution>.out-of-fold.npz`:

    fingerprint, uid    whose predictions these are
    fold                that the images are of, counted from 1
    classes             names, in the order of the columns
    names, labels       of the images [N], in the order of predictions.npz's validation split
    groups              int64 [N]: images of one number belong together; missing where each stands alone
    epochs              int64 [E], counted from 1; all of them, unless a record was damaged
    monitor, monitored  the metric that chooses the epoch, and its value after each epoch [E]; NaN: undefined
    log_probabilities   float32 [E, N, classes]

Where all epochs of the recipe would take more than LARGEST bytes, two smaller arrays stand in place of the last one:

    predicted           int32 [E, N], the likeliest class
    losses              float32 [E, N], minus the log-probability of the true class, in nats

`OutOfFold.load` reads it; `resomap.summary.pooling` pools the folds of a square.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from resomap.cells.archive import EPOCH_RECORDS
from resomap.cells.cell import Cell
from resomap.core.files import replace_atomically

LARGEST = 50_000_000  # bytes of a cell's log-probabilities
_DIGEST = 32  # bytes of a record's seal


def out_of_fold_path(cell: Cell) -> Path:
    """Return the path of a cell's archive, beside its marker."""
    return cell.beside_marker("out-of-fold.npz")


@dataclass(frozen=True, eq=False, kw_only=True)
class OutOfFold:
    """Out-of-fold predictions of one finished training; the fields are the archive's, None where it lacks them."""

    fingerprint: str
    uid: str
    fold: int
    classes: Sequence[str]
    names: Sequence[str]
    labels: np.ndarray
    epochs: np.ndarray
    monitor: str
    monitored: np.ndarray
    groups: np.ndarray | None = None
    log_probabilities: np.ndarray | None = None
    predicted: np.ndarray | None = None
    losses: np.ndarray | None = None

    def save(self, path: Path) -> None:
        """Write the archive atomically. Raises OSError."""
        arrays = {one.name: np.asarray(value) for one in fields(self) if (value := getattr(self, one.name)) is not None}
        replace_atomically(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "OutOfFold | None":
        """Return the predictions in an archive; None where it is missing, damaged, or of another form."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {one.name: stored.get(one.name) for one in fields(cls)}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
            return None
        text = {name: arrays[name] for name in ("fingerprint", "uid", "fold", "monitor", "classes", "names")}
        needed = [*text.values(), arrays["labels"], arrays["epochs"], arrays["monitored"]]
        if any(one is None for one in needed) or (arrays["log_probabilities"] is None and arrays["losses"] is None):
            return None
        return cls(
            **{name: one for name, one in arrays.items() if name not in text},
            fingerprint=str(text["fingerprint"]),
            uid=str(text["uid"]),
            fold=int(text["fold"]),
            monitor=str(text["monitor"]),
            classes=text["classes"].tolist(),
            names=text["names"].tolist(),
        )

    def after(self, epoch: int) -> np.ndarray | None:
        """Return the log-probabilities float32 [N, classes] after an epoch.

        Where the archive has classes and losses they are rebuilt: the likeliest class and the log-probability of the
        true class are right, the others are made up: fit for metrics of classes alone. None: no such epoch.
        """
        place = np.flatnonzero(self.epochs == epoch)
        if not len(place):
            return None
        if self.log_probabilities is not None:
            return np.asarray(self.log_probabilities[place[0]])
        assert self.predicted is not None
        assert self.losses is not None
        return _rebuilt(self.predicted[place[0]], self.losses[place[0]], self.labels, len(self.classes))


def is_whole(epochs: int, images: int, classes: int) -> bool:
    """Return True if the log-probabilities of so many epochs, images and classes are stored, not classes and losses."""
    return 4 * epochs * images * classes <= LARGEST


class EpochRecords:
    """Records of a training's epochs while it runs: arrays of one size, each sealed by its digest."""

    def __init__(self, cell: Cell, labels: np.ndarray, classes: int, epochs: int) -> None:
        self._path, self._labels, images = cell.checkpoints / EPOCH_RECORDS, labels, len(labels)
        self._shape = images, classes
        self._is_whole = is_whole(epochs, images, classes)
        self._bytes = images * 4 * (classes if self._is_whole else 2)

    def write(self, epoch: int, log_probabilities: np.ndarray) -> None:
        """Write the record of an epoch (counted from 1) to the disk. Raises OSError."""
        content = self._content(log_probabilities)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "wb") as stream:
            stream.seek((epoch - 1) * (_DIGEST + self._bytes))
            stream.write(hashlib.sha256(content).digest() + content)
            stream.flush()
            os.fsync(stream.fileno())

    def read(self, epochs: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the epochs [E], of so many, whose records are whole, and the arrays of the archive that hold them."""
        found, contents = [], []
        for epoch in range(1, epochs + 1):
            content = self._read_one(epoch)
            if content is not None:
                found.append(epoch)
                contents.append(content)
        joined, (images, classes) = b"".join(contents), self._shape
        if self._is_whole:
            values = np.frombuffer(joined, dtype="<f4").reshape(len(found), images, classes)
            return np.array(found, dtype=np.int64), {"log_probabilities": values}
        both = np.frombuffer(joined, dtype="<i4").reshape(len(found), 2, images)
        return np.array(found, dtype=np.int64), {"predicted": both[:, 0], "losses": both[:, 1].view("<f4")}

    def _content(self, log_probabilities: np.ndarray) -> bytes:
        if self._is_whole:
            return log_probabilities.astype("<f4").tobytes()
        losses = -log_probabilities[np.arange(len(self._labels)), self._labels]
        return log_probabilities.argmax(axis=1).astype("<i4").tobytes() + losses.astype("<f4").tobytes()

    def _read_one(self, epoch: int) -> bytes | None:
        try:
            with self._path.open("rb") as stream:
                stream.seek((epoch - 1) * (_DIGEST + self._bytes))
                record = stream.read(_DIGEST + self._bytes)
        except OSError:
            return None
        seal, content = record[:_DIGEST], record[_DIGEST:]
        return content if len(content) == self._bytes and hashlib.sha256(content).digest() == seal else None


def _rebuilt(predicted: np.ndarray, losses: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    images = np.arange(len(labels))
    true = np.exp(-losses.astype(float))
    is_right = predicted == labels
    found = np.tile(np.where(is_right, (1 - true) / max(1, classes - 1), 0.0)[:, None], (1, classes))
    # A class that won over the true one gets all the rest, a half of one at least: more than the true one.
    found[images, predicted] = np.where(is_right, true, np.maximum(0.5, 1 - true)) * (1 + 1e-6)
    found[~is_right, labels[~is_right]] = np.minimum(true[~is_right], 0.5)
    least = np.finfo(np.float32).tiny
    return np.log(np.clip(found, least, 1.0)).astype(np.float32)
