"""Metrics that are worked out only where they are wanted: operating points, average precision, quadratic kappa."""

from typing import get_args

import numpy as np
from sklearn import metrics

from resomap.compute.thresholds import OneVsRest, ThresholdMetric, choose_threshold, log_odds, share_at
from resomap.config.judging import FurtherMetric


def further_metric(
    metric: FurtherMetric, log_probabilities: np.ndarray, labels: np.ndarray, positive: int | None, at: float
) -> float | None:
    """Return a metric of log-probabilities [N, classes] for labels int [N]; None where it is undefined.

    An operating point has its threshold from these images themselves. `positive` is the index of the class that all
    but quadratic kappa speak of, `at` the share that a threshold holds.
    """
    if metric == "quadratic_kappa":
        predicted, classes = log_probabilities.argmax(axis=1), range(log_probabilities.shape[1])
        if len(np.union1d(labels, predicted)) < 2:
            return None
        return float(metrics.cohen_kappa_score(labels, predicted, labels=classes, weights="quadratic"))
    assert positive is not None  # checked with the configuration
    scores, is_positive = log_odds(log_probabilities, positive), labels == positive
    if metric == "average_precision":
        return float(metrics.average_precision_score(is_positive, scores)) if is_positive.any() else None
    assert metric in get_args(ThresholdMetric)
    threshold = choose_threshold(scores, is_positive, OneVsRest(metric, positive, at))
    return None if threshold is None else share_at(scores > threshold, is_positive, metric)
