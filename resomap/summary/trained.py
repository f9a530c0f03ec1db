"""A finished training as the map reads it: its marker, its evaluation and its predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.statistics import Position


@dataclass(frozen=True)
class Trained:
    """One finished training: its marker, its evaluation at all resolutions and its predictions, each None if absent."""

    cell: Cell
    marker: Marker
    evaluation: Mapping[str, Any] | None
    predictions: Predictions | None

    @property
    def position(self) -> Position:
        """The training's square of the map."""
        return self.cell.model, self.cell.resolution

    def tested(self, resolution: int, split: str) -> SplitPredictions | None:
        """Return the training's predictions of a split at a test resolution; None where they are not here."""
        if self.predictions is None:
            return None
        if resolution == self.cell.resolution:
            return self.predictions.splits[split]
        found = evaluation_record.kept_predictions(self.cell, self.marker, resolution)
        if found is None:
            return None
        own, part = self.predictions.splits[split], found.splits[split]
        same = list(part.names) == list(own.names) and np.array_equal(part.labels, own.labels)
        return part if same and found.classes == self.predictions.classes else None


@dataclass(frozen=True)
class Missing:
    """A part that is missing from the map: `what` is training, predictions, evaluation or cost.

    `can_come`: True if running the workflow again may bring it; False for what does not exist.
    """

    model: str
    resolution: int
    seed: int | None  # None: the same for all seeds
    fold: int | None  # None: the same for all folds, or a study without folds
    what: str
    reason: str
    can_come: bool = False


def gap_of(one: Trained, what: str, reason: str, can_come: bool = False) -> Missing:
    """Return what is missing of a training."""
    return Missing(one.cell.model, one.cell.resolution, one.cell.seed, one.cell.fold, what, reason, can_come)
