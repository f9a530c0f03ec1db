"""Predictions file of a cell: log-probabilities of every validation and test image, and the training they are of.

A NumPy archive with `fingerprint`, `uid`, `classes`, and for each split `<split>_names`, `<split>_labels`,
`<split>_log_probabilities`, and `<split>_groups` where images are known to belong together. Files of earlier versions
have `<split>_probabilities` in place of log-probabilities and are read too.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from resomap.core.files import replace_atomically
from resomap.core.log_probabilities import log_probabilities_of

EVALUATED = ("val", "test")


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of one split: of image i names[i], labels[i] (int64) and log_probabilities[i] (float32 [classes])."""

    names: Sequence[str]
    labels: np.ndarray
    log_probabilities: np.ndarray
    groups: np.ndarray | None = None  # int64 [N]: images of one number belong together; None: not known
    folds: np.ndarray | None = None  # int64 [N], of several folds put together; in no archive

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities float32 [N, classes], as people read them; they saturate at 0 and 1."""
        return np.exp(self.log_probabilities)


@dataclass(frozen=True)
class Predictions:
    """Predictions of one training's best weights at one resolution, by the splits of EVALUATED."""

    fingerprint: str
    uid: str
    classes: list[str]
    splits: Mapping[str, SplitPredictions]

    def save(self, path: Path) -> None:
        """Write the archive atomically. Raises OSError."""
        arrays = {name: np.array(getattr(self, name)) for name in ("fingerprint", "uid", "classes")}
        for split, part in self.splits.items():
            arrays[f"{split}_names"] = np.array(part.names)
            arrays[f"{split}_labels"] = np.asarray(part.labels)
            arrays[f"{split}_log_probabilities"] = np.asarray(part.log_probabilities, dtype=np.float32)
            if part.groups is not None:
                arrays[f"{split}_groups"] = part.groups
        replace_atomically(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path, wanted: Sequence[str] = EVALUATED) -> "Predictions | None":
        """Return the predictions in an archive; None where it is missing, damaged, or of another form.

        `wanted` are the splits that it must have: of a winner only `test`.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                return cls(
                    str(stored["fingerprint"]),
                    str(stored["uid"]),
                    stored["classes"].tolist(),
                    {
                        split: SplitPredictions(
                            stored[f"{split}_names"].tolist(),
                            stored[f"{split}_labels"],
                            _log_probabilities(stored, split),
                            stored.get(f"{split}_groups"),
                        )
                        for split in wanted
                    },
                )
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
            return None


def _log_probabilities(stored: Mapping[str, np.ndarray], split: str) -> np.ndarray:
    if f"{split}_probabilities" in stored:
        return log_probabilities_of(stored[f"{split}_probabilities"])
    return stored[f"{split}_log_probabilities"]
