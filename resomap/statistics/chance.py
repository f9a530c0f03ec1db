"""Chance level of a metric: what an answer reaches that looks at no image."""

import numpy as np


def chance_level(metric: str, labels: np.ndarray, classes: int) -> float | None:
    """Return the chance level of a metric on images with these labels int [N], of `classes` classes; None: not known.

    It is the better of always answering the most frequent class and of guessing each class by its share. A guess
    expects the class's share as precision and as recall, so 1 / classes as mean F1; the constant answer has the F1
    2 p / (1 + p) of its class, whose share is p, and 0 of all others.
    """
    if not len(labels) or classes < 2:
        return None
    most = float(np.bincount(labels, minlength=classes).max() / len(labels))
    levels = {
        "accuracy": most,
        "balanced_accuracy": 1 / classes,
        "macro_f1": max(1 / classes, 2 * most / (1 + most) / classes),
        "auroc": 0.5,
    }
    return levels.get(metric)


def is_constant(log_probabilities: np.ndarray) -> bool:
    """Return True if predictions [N, classes] answer one class for every image, of which there are several."""
    return len(log_probabilities) > 1 and len(np.unique(log_probabilities.argmax(axis=1))) == 1
