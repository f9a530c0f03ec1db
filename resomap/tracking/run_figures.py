"""Figures of a run: learning curves and confusion matrix, drawn by the sender so that no training waits for them."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resomap.cells.predictions import Predictions
from resomap.core.text import encodable

NUMBERED_UP_TO = 20  # classes: beyond that numbers and names in the matrix cannot be read


def draw(history: Path, predictions: Path, directory: Path) -> tuple[list[Path], list[str]]:
    """Draw curves.png and confusion_matrix.png into `directory`; return their paths, and why others are not drawn.

    Whatever goes wrong costs that figure and no other: the run and its journal go on.
    """
    drawn, problems = [], []
    figures: dict[str, Callable[[], Figure | None]] = {
        "curves.png": lambda: _curves(history),
        "confusion_matrix.png": lambda: _test_confusion(predictions),
    }
    for name, make in figures.items():
        try:
            if figure := make():
                _save(figure, directory / name)
                drawn.append(directory / name)
        except Exception as error:
            problems.append(f"{name} is not drawn: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return drawn, problems


def _curves(history: Path) -> Figure:
    """Return the figure of losses, qualities and learning rate over the epochs; undefined values are gaps."""
    with history.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        raise ValueError(f"{history} has no epoch")
    epochs = [int(row["epoch"]) for row in rows]
    groups = {
        "loss (nats)": [name for name in rows[0] if name.endswith("/loss")],
        "share": [f"{split}/{name}" for split in ("train", "val") for name in ("accuracy", "balanced_accuracy")],
        "learning rate": ["learning_rate"],
    }
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (label, names) in zip(figure.subplots(1, len(groups)), groups.items(), strict=True):
        for name in (name for name in names if name in rows[0]):
            axes.plot(epochs, [_number(row[name]) for row in rows], marker=".", label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def _test_confusion(predictions: Path) -> Figure | None:
    known = Predictions.load(predictions, ("test",))
    if known is None:
        raise ValueError(f"{predictions} cannot be read")
    part = known.splits["test"]
    if not len(part.labels):
        return None
    return _confusion(part.labels, part.log_probabilities.argmax(1), known.classes)


def _confusion(labels: np.ndarray, predicted: np.ndarray, classes: list[str]) -> Figure:
    """Return the confusion matrix of the test images: rows true, columns predicted classes, colours row shares."""
    count = len(classes)
    matrix = np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)
    shares = matrix / np.maximum(1, matrix.sum(1, keepdims=True))
    size = 3 + 0.4 * min(count, NUMBERED_UP_TO)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, label="share of the true class")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if count <= NUMBERED_UP_TO:
        # Names of classes are anybody's: a `$` in them begins no formula, and bytes need be no UTF-8.
        classes = [encodable(name) for name in classes]
        axes.set_xticks(range(count), classes, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(count), classes, parse_math=False)
        for row, column in np.ndindex(count, count):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour)
    return figure


def _save(figure: Figure, path: Path) -> None:
    # Without the date and version that matplotlib would write: the same figure has the same bytes.
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})


def _number(text: str) -> float:
    return float(text) if text else float("nan")
