"""Predictions file of a cell: class probabilities of every validation and test image, and the training they are of.

A NumPy archive with `fingerprint`, `uid`, `classes`, and for each split `<split>_names`, `<split>_labels` and
`<split>_probabilities`.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resomap.core.files import replace_atomically

EVALUATED = ("val", "test")


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions of one split. Image i has names[i], labels[i] (int64) and probabilities[i] (float32 [classes])."""

    names: Sequence[str]
    labels: np.ndarray
    probabilities: np.ndarray


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
            arrays[f"{split}_probabilities"] = part.probabilities
        replace_atomically(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Predictions | None":
        """Return the predictions in an archive; None where it is missing, damaged, or of another form."""
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
                            stored[f"{split}_probabilities"],
                        )
                        for split in EVALUATED
                    },
                )
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
            return None
