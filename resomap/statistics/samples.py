"""Input of the statistics: predictions of trainings on shared images, and the cells that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from resomap.core.errors import ResomapError

Position: TypeAlias = tuple[str, int]
"""A square of the map over all seeds: (model, resolution in pixels)."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One training's predictions of one split: labels int [N], probabilities [N, classes] (rows sum to 1)."""

    labels: np.ndarray
    probabilities: np.ndarray


Trainings: TypeAlias = Sequence[Sample]
"""The seeds of one cell. All trainings of a map speak of the same images in the same order."""


def position_name(position: Position) -> str:
    """Return the name of a cell in sentences: `resnet18 at 64 px`."""
    return f"{position[0]} at {position[1]} px"


def require_shared_images(cells: Mapping[Position, Trainings]) -> np.ndarray:
    """Return the labels int [N] that all trainings share.

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
            if not same or sample.probabilities.shape != first.probabilities.shape:
                raise ResomapError(
                    f"the predictions of {position_name(position)} are of other images or classes than those of "
                    "the first cell; evaluate all cells anew on one split"
                )
    if first is None or len(first.labels) == 0:
        raise ResomapError("there are no predictions to compare; train and evaluate at least one cell")
    return first.labels
