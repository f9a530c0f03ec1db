"""The done marker of a cell: strict JSON, written last, believed only after a check."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.cells.cell import Cell
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.json_object import JsonObject

if TYPE_CHECKING:
    from resomap.cells.study import Study

SCHEMA = 1
LOCAL, TRACKER = "local", "tracker"  # origins


@dataclass(frozen=True, kw_only=True)
class TrainingCost(JsonObject):
    """Cost of one training. None: not known, as for all of an adopted run of an older script."""

    params: int | None = None  # that training changes
    flops: int | None = None  # of a forward pass of one image; a multiply-add counts as two
    train_seconds: float | None = None  # of training steps, without start, validation and evaluation
    images_per_second: float | None = None
    peak_training_memory_bytes: int | None = None
    device: str | None = None  # its name
    reasons: Mapping[str, str] | None = None  # why a figure is None, by its name


@dataclass(frozen=True, kw_only=True)
class Marker(JsonObject):
    """Done marker: the result of one finished training.

    The fields are the file's keys, in its order; one with a default may be missing there.

    `read` and `parse` are the only ways from JSON to a marker, `write` and `as_json` those back; what this version
    does not know is kept in between.
    """

    schema: int
    model: str
    resolution: int  # pixels
    seed: int
    fingerprint: str  # 12 hex digits: the cell's settings, data and recipe
    base: str  # 12 hex digits: what all cells of the study share
    uid: str  # of the training, the same over all its attempts
    run_id: str | None  # in the tracker; None where that did not get the run in time
    origin: str  # LOCAL or TRACKER: trained in this directory, or taken over
    finished_at: float | None  # seconds since 1970
    epochs: int | None
    best_epoch: int | None = None  # counted from 1, chosen on validation
    metrics: Mapping[str, float | None]  # by val/<metric> and test/<metric>; None: undefined
    cost: TrainingCost
    weights_in_tracker: bool = False  # best.pt is an artifact of the run
    microbatch: int | None = None  # images a forward pass
    exact: bool  # to the bit what an uninterrupted training would be
    exact_reasons: tuple[str, ...] = ()  # why not
    content_digest: str | None = None  # of the images that it saw
    environment: Mapping[str, Any] | None = None  # versions and device
    attempt: int | None = None  # counted from 1
    precision: str | None = None  # float32, or of mixed precision: bfloat16, float16
    fallback: str | None = None  # why it was computed in another way than the settings say
    fold: int | None = None  # that judged it, counted from 1; None: a study without folds
    weights: Mapping[str, Any] | None = None  # place and digest of pretrained starting weights
    learning_rate: float | None = None  # highest of the schedule
    learning_rate_search: Mapping[str, Any] | None = None  # how it was found (RateSearch); None: it was given
    graphs: bool = False  # its steps were replayed from a CUDA graph; other bits than plain ones stand in exact_reasons
    winner: Mapping[str, Any] | None = None  # of a winner: its choice (see winner_cell.py); cells have no such key

    @classmethod
    def read(cls, path: Path) -> "Marker | None":
        """Return the marker in a file; None where there is none, or it is damaged, incomplete or of another form."""
        return cls.parse(read_json(path))

    @classmethod
    def of_done(cls, cell: Cell, fingerprint: str, content_digest: str | None = None) -> "Marker | None":
        """Return the cell's marker; None where there is none that counts under these settings and images."""
        found = cls.read(cell.marker)
        return found if found is not None and found.counts_for(cell, fingerprint, content_digest) else None

    def write(self, path: Path) -> None:
        """Write the marker (or its copy beside the checkpoints) atomically. Raises OSError."""
        write_json(path, self.as_json())

    @classmethod
    def parse(cls, content: Any) -> "Marker | None":
        """Return the marker that decoded JSON holds; None where it is none of this form."""
        is_cell = isinstance(content, dict) and "winner" not in content
        return super().parse({**content, "winner": None} if is_cell else content)

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file; without the key `winner` for a cell."""
        content = super().as_json()
        return content if self.winner is not None else {name: content[name] for name in content if name != "winner"}

    def counts_for(self, cell: Cell, fingerprint: str, content_digest: str | None = None) -> bool:
        """Return True if this very cell is done under these settings by the marker, with metrics finite or null.

        `content_digest` is that of the images here, where it is known: a training of other contents does not count.
        """
        return (
            self.fingerprint == fingerprint
            and not self.is_of_other_images(content_digest)
            and (self.model, self.resolution, self.fold, self.seed)
            == (cell.model, cell.resolution, cell.fold, cell.seed)
            and bool(self.metrics)
            and all(value is None or abs(value) <= sys.float_info.max for value in self.metrics.values())
        )

    def is_of(self, fingerprint: object, uid: object) -> bool:
        """Return True if a file that names this fingerprint and uid belongs to the marker's training."""
        return (fingerprint, uid) == (self.fingerprint, self.uid)

    def is_of_other_images(self, content_digest: str | None) -> bool:
        """Return True if the training saw other image contents than those of this digest.

        False where either is unknown.
        """
        return bool(self.content_digest and content_digest and self.content_digest != content_digest)

    @property
    def is_from_tracker(self) -> bool:
        """True if the marker comes from the tracker: the cell was not trained in this directory."""
        return self.origin == TRACKER


def require_done(study: "Study", cell: Cell) -> Marker:
    """Return the marker of a cell that is done under the study's settings. Raises ResomapError where it is not."""
    marker = Marker.of_done(cell, study.fingerprint(cell), study.content_digest)
    if marker is None:
        raise ResomapError(f"{cell.name} is not done under these settings; run {study.resume_command(cell)}")
    return marker
