"""Thresholds carried to other images: chosen on validation, judged on test, with what the choice adds to the noise.

Two limits are put together by MOVER, the method of variance estimates recovery (Zou & Donner 2008, Statistics in
Medicine 27:1693): those of the share at the threshold as it stands, and those that the metric has on the test images
at the thresholds between which the wanted one lies with 95 % confidence. So no density is estimated, and an interval
may be as lopsided as the curve.
"""

import math
from dataclasses import dataclass

import numpy as np

from resomap.compute.thresholds import OneVsRest, ThresholdMetric, hits_and_counted, share_at
from resomap.statistics.groups import unbiased
from resomap.statistics.operating_point import Judged, Scores, threshold_influence
from resomap.statistics.samples import Sample
from resomap.statistics.shares import Share, share


@dataclass(frozen=True)
class Carried:
    """An operating point on test images.

    `value` is the metric; its interval is for the wanted share held exactly, so the choice of the threshold is in it.
    `held` is the share that this threshold holds on these images, and its interval speaks of this threshold.
    `sensitivity` and `specificity` are those of this threshold too.
    """

    threshold: float
    value: Share
    held: Share
    sensitivity: Share
    specificity: Share


def carry(validation: Sample, test: Sample, wanted: OneVsRest) -> Carried | None:
    """Choose the threshold on validation and judge it on test; None where a class has no images in one of them."""
    chosen_on, judged_on = Scores.of(validation, wanted.positive), Scores.of(test, wanted.positive)
    threshold = chosen_on.threshold(wanted)
    if threshold is None:
        return None
    decided = decisions(judged_on.called(threshold), judged_on)
    value = _value(chosen_on, judged_on, wanted, threshold)
    if decided is None or value is None:
        return None
    sensitivity, specificity = decided
    return Carried(threshold, value, specificity if wanted.holds_negatives else sensitivity, sensitivity, specificity)


def carried_influence(validation: Sample, test: Sample, wanted: OneVsRest) -> Judged | None:
    """Return the metric on test with its influence [N of validation + N of test], for means over several seeds."""
    chosen_on, judged_on = Scores.of(validation, wanted.positive), Scores.of(test, wanted.positive)
    threshold = chosen_on.threshold(wanted)
    if threshold is None:
        return None
    hits, counted = _judged(judged_on, wanted, threshold)
    if not counted.any():
        return None
    value, images, count = float(hits[counted].mean()), len(chosen_on.odds) + len(judged_on.odds), int(counted.sum())
    by_choice = threshold_influence(chosen_on, judged_on, wanted) * images / len(chosen_on.odds)
    direct = np.where(counted, hits - value, 0.0) * images / count * unbiased(count)
    return Judged(value, np.concatenate([by_choice, direct]), count)


def decisions(called: np.ndarray, scores: Scores) -> tuple[Share, Share] | None:
    """Return sensitivity and specificity of decisions bool [N]; None where a class has no images."""
    positive, groups = scores.is_positive, scores.groups
    sensitivity = share(called[positive], None if groups is None else groups[positive])
    specificity = share(~called[~positive], None if groups is None else groups[~positive])
    return None if sensitivity is None or specificity is None else (sensitivity, specificity)


def _value(chosen_on: Scores, judged_on: Scores, wanted: OneVsRest, threshold: float) -> Share | None:
    hits, counted = _judged(judged_on, wanted, threshold)
    groups = None if judged_on.groups is None else judged_on.groups[counted]
    fixed = share(hits[counted], groups)
    if fixed is None:
        return None
    moved = [fixed.value]
    for other, _ in chosen_on.thresholds_around(wanted):
        found = share_at(judged_on.called(other), judged_on.is_positive, _metric(wanted))
        moved += [] if found is None else [found]
    below = math.hypot(fixed.value - fixed.low, fixed.value - min(moved))
    above = math.hypot(fixed.high - fixed.value, max(moved) - fixed.value)
    return Share(fixed.value, max(0.0, fixed.value - below), min(1.0, fixed.value + above), fixed.images)


def _judged(judged_on: Scores, wanted: OneVsRest, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    return hits_and_counted(judged_on.called(threshold), judged_on.is_positive, _metric(wanted))


def _metric(wanted: OneVsRest) -> ThresholdMetric:
    return wanted.metric  # type: ignore[return-value]
