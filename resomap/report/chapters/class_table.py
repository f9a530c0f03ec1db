"""Table of all classes at one square of the map, the worst first, to be searched by name."""

from dataclasses import dataclass

import numpy as np

from resomap.report.chapters.classes import class_names, confusions
from resomap.report.material import Material, name

SHOWN = 20  # rows before somebody searches


@dataclass(frozen=True)
class ClassRow:
    """One class on the test images, all trainings of the square together."""

    label: str
    images: int
    recall: str
    precision: str
    taken_for: str  # the classes that its images are most often taken for
    is_shown: bool  # without a search


@dataclass(frozen=True)
class ClassTable:
    """The classes of the square `where`, those that are recognised least first."""

    where: str
    rows: list[ClassRow]


def class_table(material: Material) -> ClassTable | None:
    """Return the classes of the answer's square, else of the first with predictions; None without any."""
    matrices, names = confusions(material), class_names(material)
    if not matrices:
        return None
    position = material.chosen if material.chosen in matrices else next(iter(matrices))
    assert position is not None
    matrix = matrices[position]
    right, images, said = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    recalls = np.where(images > 0, right / np.maximum(1, images), np.nan)
    # The worst first; of equals those with more images; classes without an image last.
    order = np.lexsort((np.arange(len(names)), -images, np.where(images > 0, recalls, 2)))
    rows = [
        ClassRow(
            names[index],
            int(images[index]),
            f"{recalls[index]:.3f}" if images[index] else "–",
            f"{right[index] / said[index]:.3f}" if said[index] else "–",
            _taken_for(matrix[index], index, names),
            place < SHOWN,
        )
        for place, index in enumerate(order.tolist())
    ]
    return ClassTable(name(material.squares[position]), rows)


def _taken_for(row: np.ndarray, own: int, names: list[str]) -> str:
    others = row.copy()
    others[own] = 0
    most = [index for index in np.argsort(-others, kind="stable")[:3].tolist() if others[index]]
    return ", ".join(f"{names[index]} ({others[index]})" for index in most)
