"""95 % intervals of a training's figures over other images from the same source; training noise is not included.

The metrics of `resomap.statistics` get its intervals, which cover near 1 and with rare classes too; that of the
calibration error is `statistics.calibration`'s. The loss is a mean over images: it gets Student's interval. Images that
belong together count as one group in each of them.
"""

from typing import get_args

import numpy as np
from scipy import stats

from resomap.compute.metrics import losses
from resomap.statistics import CONFIDENCE, Metric, Sample, calibration, estimate, intervals
from resomap.statistics.groups import Groups
from resomap.statistics.quality import quality


def image_intervals(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    metrics: dict[str, float | None],
    groups: np.ndarray | None = None,
) -> dict[str, list[float] | None]:
    """Intervals [low, high] of each metric; None where it is undefined.

    `metrics` are those that `resomap.compute.metrics.measure` gave for these log-probabilities [N, classes] and
    labels int [N]; groups int [N] names the images that belong together. The same predictions give the same intervals.
    """
    found: dict[str, list[float] | None] = dict.fromkeys(metrics)
    sample = Sample(labels, log_probabilities, groups)
    for metric in get_args(Metric):
        if metric in found and quality(metric, sample) is not None:
            interval = intervals(estimate({("", 0): [sample]}, metric))["", 0]
            found[metric] = [interval.low, interval.high]
    if (calibrated := calibration(log_probabilities, labels, groups)) is not None:
        found["calibration_error"] = [calibrated.low, calibrated.high]
    if metrics.get("loss") is not None:
        found["loss"] = _of_mean(losses(log_probabilities, labels), Groups.of(groups, len(labels)))
    return found


def _of_mean(values: np.ndarray, groups: Groups) -> list[float] | None:
    """Return Student's interval of the mean of values [N] >= 0; None with fewer than two groups."""
    mean = float(values.mean())
    if groups.count < 2:
        return None
    error = float(np.sqrt((groups.sums((values - mean) / len(values)) ** 2).sum()))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, groups.count - 1)) * error
    return [max(0.0, mean - half), mean + half]
