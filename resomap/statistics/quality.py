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
from scipy import sparse, stats

from resomap.compute.thresholds import OneVsRest
from resomap.core.errors import ResomapError
from resomap.core.log_probabilities import class_margins
from resomap.statistics.agreement import LOWEST, quadratic_kappa
from resomap.statistics.class_parts import Parts
from resomap.statistics.groups import unbiased
from resomap.statistics.operating_point import cross_fitted
from resomap.statistics.ranking import average_precision
from resomap.statistics.samples import Sample

Metric: TypeAlias = Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", "macro_precision", "macro_recall"]
Question: TypeAlias = Metric | Literal["quadratic_kappa"] | OneVsRest
"""What cells may be compared by: a metric of all classes alike, of ordered ones, or of one class against the rest."""

MOST_AREAS = 50  # classes up to which each ROC area gets an interval of its own; many of them average out


@dataclass(frozen=True, eq=False)
class Quality:
    """A metric of one training on N images: its value (0..1) and the influence [N] of each image on it.

    `effective_images` is N for accuracy. For a mean over classes it is the number of images of a set with classes of
    equal size that is as informative: classes² / sum(1 / images of the class). `grain` is the variance that one
    image stands for where none was judged differently. `parts`: the classes' shares in a mean over them; None for
    a metric that is one share of all images, or has no such form. `lowest`: the least value that the metric can take.
    """

    value: float
    influence: np.ndarray
    effective_images: float
    grain: float
    parts: Parts | None = None
    lowest: float = 0.0


def quality(metric: Question, sample: Sample) -> Quality | None:
    """Return the metric as `resomap.compute.metrics.measure` defines it, or None where it is undefined.

    Operating points, average precision and quadratic kappa are those of `operating_point`, `ranking` and `agreement`.
    Undefined: log-probabilities that are not finite, no images, AUROC where a class has no images.
    Raises ResomapError for a metric of another name.
    """
    further = isinstance(metric, OneVsRest) or metric == "quadratic_kappa"
    if not further and str(metric) not in _METRICS:
        raise ResomapError(f"'{metric}' cannot be compared between cells; choose one of {', '.join(_METRICS)}")
    if len(sample.labels) == 0 or not np.isfinite(sample.log_probabilities).all():
        return None
    return _further(metric, sample) if further else _METRICS[str(metric)](sample)


def _further(metric: Question, sample: Sample) -> Quality | None:
    if not isinstance(metric, OneVsRest):
        judged = quadratic_kappa(sample)
    elif metric.needs_threshold:
        judged = cross_fitted(sample, metric)
    else:
        judged = average_precision(sample, metric.positive)
    if judged is None:
        return None
    lowest = 0.0 if isinstance(metric, OneVsRest) else LOWEST
    return Quality(judged.value, judged.influence, float(judged.counted), judged.counted**-2, lowest=lowest)


def _accuracy(sample: Sample) -> Quality:
    labels = sample.labels
    right = sample.log_probabilities.argmax(axis=1) == labels
    value = float(right.mean())
    return Quality(value, right - value, float(len(labels)), 1 / len(labels) ** 2)


def _balanced_accuracy(sample: Sample) -> Quality:
    return _mean_recall(sample, occurring_only=True)


def _macro_recall(sample: Sample) -> Quality:
    return _mean_recall(sample, occurring_only=False)


def _mean_recall(sample: Sample, occurring_only: bool) -> Quality:
    """Return the mean recall over the classes that occur, or over all of them (0 for one without images)."""
    labels = sample.labels
    right = sample.log_probabilities.argmax(axis=1) == labels
    images = np.bincount(labels, minlength=sample.log_probabilities.shape[1])
    occurring = np.flatnonzero(images)
    recall = np.bincount(labels, weights=right, minlength=len(images)) / np.maximum(images, 1)
    of_each = (right - recall[labels]) / images[labels]
    classes = len(occurring) if occurring_only else len(images)
    place = np.searchsorted(occurring, labels)
    parts = Parts(
        "share",
        np.full(len(occurring), 1 / classes),
        recall[occurring],
        images[occurring],
        occurring,
        _sparse(of_each, np.arange(len(labels)), place, (len(labels), len(occurring))),
    )
    share = len(labels) * unbiased(images)[labels] / classes
    return _mean_over_classes(parts, images, share * of_each)


def _macro_precision(sample: Sample) -> Quality:
    """Return the mean precision over the classes; 0 for a class that is never predicted."""
    labels = sample.labels
    classes = sample.log_probabilities.shape[1]
    predicted = sample.log_probabilities.argmax(axis=1)
    images = np.bincount(predicted, minlength=classes)
    right = predicted == labels
    precision = np.bincount(predicted, weights=right, minlength=classes) / np.maximum(images, 1)
    of_each = (right - precision[predicted]) / images[predicted]
    matrix = _sparse(of_each, np.arange(len(labels)), predicted, (len(labels), classes))
    parts = Parts("share", np.full(classes, 1 / classes), precision, images, np.arange(classes), matrix)
    of_labels = np.bincount(labels, minlength=classes)
    return _mean_over_classes(parts, of_labels, of_each * len(labels) / classes)


def _macro_f1(sample: Sample) -> Quality:
    """Return macro F1, the mean of F1 over the classes.

    F1 of a class is 2 TP / (images of the class + images predicted as the class), 0 where there are neither.
    """
    labels = sample.labels
    classes = sample.log_probabilities.shape[1]
    predicted = sample.log_probabilities.argmax(axis=1)
    images = np.bincount(labels, minlength=classes)
    both = np.maximum(images + np.bincount(predicted, minlength=classes), 1)
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    f1 = 2 * hits / both
    as_label = 2 * (predicted == labels) / both[labels] - (f1 / both)[labels]
    as_predicted = -(f1 / both)[predicted]
    rows = np.arange(len(labels))
    matrix = _sparse(
        np.concatenate([as_label, as_predicted]),
        np.concatenate([rows, rows]),
        np.concatenate([labels, predicted]),
        (len(labels), classes),
    )
    parts = Parts("f1", np.full(classes, 1 / classes), f1, both - hits, np.arange(classes), matrix)
    return _mean_over_classes(parts, images, (as_label + as_predicted) * len(labels) / classes)


def _auroc(sample: Sample) -> Quality | None:
    labels = sample.labels
    classes = sample.log_probabilities.shape[1]
    images = np.bincount(labels, minlength=classes)
    if classes < 2 or (images == 0).any():
        return None
    ranked = [1] if classes == 2 else list(range(classes))
    margins = class_margins(sample.log_probabilities)  # which rank the images in `measure` too
    areas = [_area(labels == index, margins[:, index]) for index in ranked]
    value = float(np.mean([area for area, _ in areas]))
    effective = _harmonic(images)
    influence = np.mean([one for _, one in areas], axis=0)
    parts = None
    if classes <= MOST_AREAS:
        parts = Parts(
            "area",
            np.full(len(ranked), 1 / len(ranked)),
            np.array([area for area, _ in areas]),
            images[ranked],
            np.array(ranked),
            sparse.csr_array(np.stack([one for _, one in areas], axis=1) / len(labels)),
        )
    # An image that changes places with its neighbours in rank moves the area by far less than a lost one: with a
    # grain of a whole image the intervals of areas above 0.99 would cover 99 % in place of 95 %.
    return Quality(value, influence, effective, 0.1 / effective**2, parts)


def _mean_over_classes(parts: Parts, images: np.ndarray, influence: np.ndarray) -> Quality:
    effective = _harmonic(images)
    return Quality(float(parts.weights @ parts.values), influence, effective, effective**-2, parts)


def _sparse(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array(sparse.coo_array((values, (rows, columns)), shape=shape))


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
    share = count * unbiased(np.array([negatives, positives])) / np.array([negatives, positives])
    return value, (placement - value) * share[positive.astype(int)]


def _harmonic(images: np.ndarray) -> float:
    occurring = images[images > 0]
    return float(len(occurring) ** 2 / math.fsum(1 / occurring))


_METRICS: dict[str, Callable[[Sample], Quality | None]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auroc": _auroc,
    "macro_precision": _macro_precision,
    "macro_recall": _macro_recall,
}
