"""Value of a metric and its influence function: what each image contributes to it.

The contributions are the empirical influence values of the infinitesimal jackknife (Jaeckel 1972; Efron 1982, "The
Jackknife, the Bootstrap and Other Resampling Plans", ch. 6): with U [N], sum(U) = 0, one image's weight in a resample
moves the metric by U/N. Sums of products of them are the covariances that a bootstrap over images tends to as its
resamples grow without end, for all trainings of a map at once by one matrix product and without the noise of a
finite number of resamples. For AUROC they are the structural components of DeLong, DeLong & Clarke-Pearson 1988.

Resampling within classes or over all images: for means over classes (balanced accuracy, AUROC) the influence is
centred within each class, so both are the same; accuracy and F1 depend on the mix of the classes, which a new sample
of images would not repeat, so their images are not resampled within classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from resomap.core.errors import ResomapError
from resomap.statistics.samples import Sample

Metric: TypeAlias = Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc"]


@dataclass(frozen=True, eq=False)
class Quality:
    """A metric of one training on N images: its value (0..1) and the influence [N] of each image on it.

    `effective_images` is N for accuracy. For a mean over classes it is the number of images of a set with classes of
    equal size that is as informative: classes² / sum(1 / images of the class). `grain` is the variance that one
    image stands for where none was judged differently.
    """

    value: float
    influence: np.ndarray
    effective_images: float
    grain: float


def quality(metric: Metric, sample: Sample) -> Quality | None:
    """Return the metric as `resomap.compute.metrics.measure` defines it, or None where it is undefined.

    Undefined: probabilities that are not finite, no images, AUROC where a class has no images.
    Raises ResomapError for a metric of another name.
    """
    if metric not in _METRICS:
        raise ResomapError(f"'{metric}' cannot be compared between cells; choose one of {', '.join(_METRICS)}")
    if len(sample.labels) == 0 or not np.isfinite(sample.probabilities).all():
        return None
    return _METRICS[metric](sample.labels, sample.probabilities)


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> Quality:
    right = probabilities.argmax(axis=1) == labels
    value = float(right.mean())
    return Quality(value, right - value, float(len(labels)), 1 / len(labels) ** 2)


def _balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> Quality:
    right = probabilities.argmax(axis=1) == labels
    images = np.bincount(labels, minlength=probabilities.shape[1])
    occur = images > 0
    recall = np.bincount(labels, weights=right, minlength=len(images)) / np.maximum(images, 1)
    share = len(labels) * _unbiased(images) / (occur.sum() * np.maximum(images, 1))
    effective = _harmonic(images)
    return Quality(float(recall[occur].mean()), share[labels] * (right - recall[labels]), effective, effective**-2)


def _macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> Quality:
    """Return macro F1, the mean of F1 over the classes.

    F1 of a class is 2 TP / (images of the class + images predicted as the class), 0 where there are neither.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    images = np.bincount(labels, minlength=classes)
    both = np.maximum(images + np.bincount(predicted, minlength=classes), 1)
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    f1 = 2 * hits / both
    derivative = 2 * (predicted == labels) / both[labels] - (f1 / both)[labels] - (f1 / both)[predicted]
    effective = _harmonic(images)
    return Quality(float(f1.mean()), derivative * len(labels) / classes, effective, effective**-2)


def _auroc(labels: np.ndarray, probabilities: np.ndarray) -> Quality | None:
    classes = probabilities.shape[1]
    images = np.bincount(labels, minlength=classes)
    if classes < 2 or (images == 0).any():
        return None
    # The same normalisation as in `measure`, so that the same probabilities tie.
    shares = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    if classes == 2:
        areas = [_area(labels == 1, shares[:, 1])]
    else:
        areas = [_area(labels == index, shares[:, index]) for index in range(classes)]
    value = float(np.mean([area for area, _ in areas]))
    effective = _harmonic(images)
    # An image that changes places with its neighbours in rank moves the area by far less than a lost one: with a
    # grain of a whole image the intervals of areas above 0.99 would cover 99 % in place of 95 %.
    return Quality(value, np.mean([influence for _, influence in areas], axis=0), effective, 0.1 / effective**2)


def _area(positive: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the area under the ROC curve and its influence values [N], from midranks.

    Sun & Xu 2014, IEEE SPL 21(11).
    """
    count = len(scores)
    positives = int(positive.sum())
    negatives = count - positives
    ranks = stats.rankdata(scores)
    placement = np.empty(count)  # share of the other class on the right side of this image
    placement[positive] = (ranks[positive] - stats.rankdata(scores[positive])) / negatives
    placement[~positive] = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / positives
    value = float(placement[positive].mean())
    share = count * _unbiased(np.array([negatives, positives])) / np.array([negatives, positives])
    return value, (placement - value) * share[positive.astype(int)]


def _unbiased(images: np.ndarray) -> np.ndarray:
    """Return the factor that makes the variance within a class that of n - 1, as DeLong's is.

    A class of one image has none to correct.
    """
    return np.sqrt(images / np.maximum(images - 1, 1))


def _harmonic(images: np.ndarray) -> float:
    occurring = images[images > 0]
    return float(len(occurring) ** 2 / math.fsum(1 / occurring))


_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], Quality | None]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auroc": _auroc,
}
