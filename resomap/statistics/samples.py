"""Input of the statistics: predictions of trainings on shared images, and the cells that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from resomap.core.errors import ResomapError
from resomap.core.log_probabilities import log_probabilities_of

Position: TypeAlias = tuple[str, int]
"""A square of the map over all seeds: (model, resolution in pixels)."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One training's predictions of one split: labels int [N], log_probabilities [N, classes].

    folds int [N]: with folds, the number of the training that judged each image, which saw the images of the others;
    the predictions of all of them are one sample. None: one training judged all.
    groups int [N]: images of one number stand or fall together (of one patient, or copies of one picture); None: each
    image speaks for itself. Probabilities (rows sum to 1) are taken in place of their logarithms, from which their
    sign tells them.
    """

    labels: np.ndarray
    log_probabilities: np.ndarray
    groups: np.ndarray | None = None
    folds: np.ndarray | None = None

    @classmethod
    def of_probabilities(
        cls, labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None
    ) -> "Sample":
        """Make a sample of probabilities [N, classes] (rows sum to 1)."""
        return cls(labels, log_probabilities_of(probabilities), groups)

    def __post_init__(self) -> None:
        if (self.log_probabilities > 0).any():
            object.__setattr__(self, "log_probabilities", log_probabilities_of(self.log_probabilities))


Trainings: TypeAlias = Sequence[Sample]
"""The seeds of one cell. All trainings of a map speak of the same images in the same order."""


def position_name(position: Position) -> str:
    """Return the name of a cell in sentences: `resnet18 at 64 px`."""
    return f"{position[0]} at {position[1]} px"


def require_shared_images(cells: Mapping[Position, Trainings]) -> np.ndarray:
    """Return the labels int [N] that all trainings share; their groups are those of any of the trainings.

    Raises ResomapError where there is no training or no image, where a cell has none, or where the predictions
    of two trainings are not of the same images: paired statistics of different images would be wrong silently.
    """
    first: Sample | None = None
    for position, trainings in cells.items():
        if not trainings:
            raise ResomapError(f"{position_name(position)} has no predictions; evaluate it or leave it out of the map")
        for sample in trainings:
            first = first or sample
            same = np.array_equal(sample.labels, first.labels)
            same = same and _same(sample.groups, first.groups) and _same(sample.folds, first.folds)
            if not same or sample.log_probabilities.shape != first.log_probabilities.shape:
                raise ResomapError(
                    f"the predictions of {position_name(position)} are of other images or classes than those of "
                    "the first cell; evaluate all cells anew on one split"
                )
    if first is None or len(first.labels) == 0:
        raise ResomapError("there are no predictions to compare; train and evaluate at least one cell")
    return first.labels


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
