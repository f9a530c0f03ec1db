"""95 % intervals of a training's figures over other images from the same source; training noise is not included.

Accuracy, balanced accuracy, macro F1 and AUROC get the intervals of `resomap.statistics`, which tend to those of a
bootstrap over images and cover better near 1; that of the calibration error is `statistics.calibration`'s. The other
metrics have no such form here: they get the estimate +- 1.96 standard deviations over bootstrap resamples of the images
(Efron 1979), cut at their limits.
"""

from typing import get_args

import numpy as np

from resomap.compute.metrics import losses
from resomap.statistics import Metric, Sample, calibration, estimate, intervals
from resomap.statistics.quality import quality

RESAMPLES = 500  # the standard deviation is then known to about 3 %
NORMAL = 1.959964


def image_intervals(
    log_probabilities: np.ndarray, labels: np.ndarray, metrics: dict[str, float | None]
) -> dict[str, list[float] | None]:
    """Intervals [low, high] of each metric; None where it is undefined.

    `metrics` are those that `resomap.compute.metrics.measure` gave for these log-probabilities [N, classes] and
    labels int [N]. The same predictions give the same intervals.
    """
    found: dict[str, list[float] | None] = dict.fromkeys(metrics)
    sample = Sample(labels, log_probabilities)
    for metric in get_args(Metric):
        if quality(metric, sample) is not None:
            interval = intervals(estimate({("", 0): [sample]}, metric))["", 0]
            found[metric] = [interval.low, interval.high]
    if (calibrated := calibration(log_probabilities, labels)) is not None:
        found["calibration_error"] = [calibrated.low, calibrated.high]
    deviations = _deviations(log_probabilities, labels)
    for name, deviation in deviations.items():
        value = metrics.get(name)
        if value is not None and np.isfinite(deviation):
            highest = float("inf") if name == "loss" else 1.0
            half = NORMAL * float(deviation)
            found[name] = [max(0.0, value - half), min(highest, value + half)]
    return found


def _deviations(log_probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Standard deviations over resamples of the metrics that are not in `Metric`."""
    count, classes = log_probabilities.shape
    predicted = log_probabilities.argmax(axis=1)
    right = predicted == labels
    loss = losses(log_probabilities, labels)
    random = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {name: [] for name in ("loss", "macro_precision", "macro_recall")}
    for _ in range(RESAMPLES):
        chosen = np.asarray(random.integers(0, count, size=count))
        hits = np.bincount(predicted[chosen][right[chosen]], minlength=classes)
        drawn["loss"].append(loss[chosen].mean())
        drawn["macro_precision"].append(_macro(hits, np.bincount(predicted[chosen], minlength=classes)))
        drawn["macro_recall"].append(_macro(hits, np.bincount(labels[chosen], minlength=classes)))
    return {name: float(np.std(values, ddof=1)) for name, values in drawn.items()}


def _macro(hits: np.ndarray, images: np.ndarray) -> float:
    """Mean over the classes; 0 for a class without images, as in `measure`."""
    return float((hits / np.maximum(images, 1)).mean())
