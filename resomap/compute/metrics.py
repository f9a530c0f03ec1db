"""Quality metrics of predictions, by scikit-learn. A new metric is one more line in `measure`."""

import math
from typing import Any

import numpy as np
from sklearn import metrics

from resomap.core.log_probabilities import class_margins

CALIBRATION_BINS = 15
DENSE_CLASSES = 64  # up to which a confusion matrix is written whole
METRICS = (
    "loss",
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "auroc",
    "calibration_error",
)


def measure(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Return the metrics of log-probabilities [N, classes] for labels int [N]; undefined ones are None.

    Loss is cross-entropy in nats, without a highest value. Balanced accuracy is the mean recall over the classes that
    occur; macro figures are means over all classes; AUROC with more than two classes is one-vs-rest, macro. Where a
    log-probability is not finite everything is undefined.
    """
    classes = log_probabilities.shape[1]
    if not np.isfinite(log_probabilities).all():
        return dict.fromkeys(METRICS)
    predicted = log_probabilities.argmax(axis=1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), average="macro", zero_division=0.0
    )
    found = {
        "loss": losses(log_probabilities, labels).mean(),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.recall_score(
            labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
        ),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "auroc": _auroc(log_probabilities, labels),
        "calibration_error": calibration_error(np.exp(log_probabilities.astype(np.float64)), labels),
    }
    return {name: _finite(found[name]) for name in METRICS}


def losses(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return each image's cross-entropy in nats, float64 [N], of log-probabilities [N, classes] and labels int [N]."""
    return -log_probabilities[np.arange(len(labels)), labels].astype(np.float64)


def calibration_error(shares: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error (Guo et al. 2017) of shares [N, classes] for labels int [N], in 0..1.

    Confidence is the share of the predicted class. The images fall into equal-width bins (0, 1/n], (1/n, 2/n], ...
    by it; in each, mean confidence and accuracy differ by a gap; the error is the mean gap over the images.
    Written out here because importing torchmetrics, against which a test holds it, takes seconds in every job.
    """
    confidence = shares.max(axis=1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = (shares.argmax(axis=1) == labels) - confidence
    return float(np.abs(np.bincount(bin_of, weights=gaps, minlength=bins)).sum() / len(gaps))


def per_class(log_probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each class `precision`, `recall`, `f1` (shares; None where the divisor is 0) and `support`.

    Of log-probabilities [N, classes] against labels int [N]; `classes` names the columns. Support counts the images.
    """
    figures = metrics.precision_recall_fscore_support(
        labels, log_probabilities.argmax(axis=1), labels=range(len(classes)), zero_division=np.nan
    )
    return {
        name: {
            "precision": _finite(precision),
            "recall": _finite(recall),
            "f1": _finite(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(classes, *figures, strict=True)
    }


def confusion(log_probabilities: np.ndarray, labels: np.ndarray) -> list[list[int]] | dict[str, list[int]]:
    """Return the confusion matrix of log-probabilities [N, classes] and labels int [N].

    It counts images by true class (rows) and predicted class (columns). Up to DENSE_CLASSES classes it is a list of
    rows; beyond, where nearly all entries are 0 and the matrix grows with the square of the classes, only the others:
    `true`, `predicted` and `images` of each, in the order of the matrix.
    """
    classes = log_probabilities.shape[1]
    places = labels.astype(np.int64) * classes + log_probabilities.argmax(axis=1)
    if classes <= DENSE_CLASSES:
        matrix: list[list[int]] = np.bincount(places, minlength=classes**2).reshape(classes, classes).tolist()
        return matrix
    filled, images = np.unique(places, return_counts=True)
    return {
        "true": (filled // classes).tolist(),
        "predicted": (filled % classes).tolist(),
        "images": images.tolist(),
    }


def _auroc(log_probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    classes = log_probabilities.shape[1]
    if classes < 2 or len(np.unique(labels)) < classes:
        return None  # a class without images has no ROC curve
    margins = class_margins(log_probabilities)
    # With two classes both curves have the same area.
    counted = range(1, 2) if classes == 2 else range(classes)
    return float(np.mean([metrics.roc_auc_score(labels == index, margins[:, index]) for index in counted]))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
