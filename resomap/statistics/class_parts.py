"""Parts of a metric that is a mean over classes: one share, F1 or ROC area a class, each with an interval of its own.

A standard error says nothing where a class has three images and all of them are right. So each class gets an interval
that holds there too, and the interval of the mean is put together from them, after MOVER, the method of variance
estimates recovery (Zou & Donner 2008, Statistics in Medicine 27:1693; Newcombe 2001): half widths add like standard
errors do, with the correlations of the parts. Unlike MOVER's, whose asymmetry stays however many parts there are, the
interval's middle moves from the estimate as the skewness of a sum does.

- recall and precision: Wilson 1927;
- F1: Wilson for TP / (TP + FP + FN), of which F1 is a function (Takahashi et al. 2022 for F1 without such a form);
- ROC area: score interval with the variance of Hanley & McNeil 1982 (Newcombe 2006, Statistics in Medicine 25:559,
  method 5), scaled to the variance that was found as far as there are images to tell it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse, stats

from resomap.statistics.groups import Groups
from resomap.statistics.shares import wilson

# Images of the rarer class that a found variance of a ROC area needs to count as much as the one on paper.
TRUSTED = 7.0
MOST_RARE = 3.0  # events up to which the lower limit of their number is Poisson's


@dataclass(frozen=True, eq=False)
class Parts:
    """A metric as the sum of weights [P] * values [P] (0..1), one part a class.

    counts [P]: images that the part is a share of (of a ROC area: positives). influence, sparse [N, P]: what each image
    moves the part by; the sum of squares is the part's variance. classes [P]: the label whose images decide the part.
    """

    kind: Literal["share", "f1", "area"]
    weights: np.ndarray
    values: np.ndarray
    counts: np.ndarray
    classes: np.ndarray
    influence: sparse.csr_array


def mean_parts(trainings: Sequence[Parts]) -> Parts:
    """Return the parts of the mean over trainings on the same images."""
    first = trainings[0]
    if len(trainings) == 1:
        return first
    return Parts(
        first.kind,
        first.weights,
        np.mean([one.values for one in trainings], axis=0),
        np.mean([one.counts for one in trainings], axis=0),
        first.classes,
        sparse.csr_array(sum(one.influence for one in trainings) / len(trainings)),
    )


def limits(parts: Parts, labels: np.ndarray, groups: Groups, confidence: float) -> tuple[float, float]:
    """Return the distances of the two limits from the metric, of images alone: (below, above), each >= 0."""
    summed = groups.sparse_sums(parts.influence)
    covariance = (summed.T @ summed).toarray()
    found = np.maximum(np.diagonal(covariance), np.asarray(parts.influence.power(2).sum(axis=0)).ravel())
    members = [labels == label for label in parts.classes]
    # An F1 falls by the images of its class and by those taken for it; an area is of places among all other images.
    design = np.array([groups.design_effect(chosen if parts.kind == "share" else None) for chosen in members])
    critical = _critical(parts, members, groups, confidence)
    if parts.kind == "area":
        low, high = _of_areas(parts, len(labels), found, design, critical)
    else:
        low, high = _of_shares(parts, found, design, critical)
    half, shift = (high - low) / 2, (high + low) / 2 - parts.values
    together = _combined(parts, covariance, found, design, half)
    # The skewness of a sum: third moments add, so that of many parts fades.
    weights, square = parts.weights, half**2
    moved = float((weights**3 * shift * square).sum() / max(1e-300, float((weights**2 * square).sum())))
    return max(0.0, together - moved), max(0.0, together + moved)


def _critical(parts: Parts, members: Sequence[np.ndarray], groups: Groups, confidence: float) -> np.ndarray:
    level = (1 + confidence) / 2
    if groups.are_images:
        return np.full(len(parts.values), stats.norm.ppf(level))
    units = np.array([groups.effective(chosen) for chosen in members])
    if parts.kind == "area":
        units = np.minimum(units, [groups.effective(~chosen) for chosen in members])
    return np.asarray(stats.t.ppf(level, np.maximum(units - 1, 1)))


def _of_shares(
    parts: Parts, found: np.ndarray, design: np.ndarray, critical: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's limits [P], with as many images as would give the variance found (Korn & Graubard 1998)."""
    shares = parts.values
    if parts.kind == "f1":
        shares = parts.values / (2 - parts.values)  # TP / (TP + FP + FN)
        found = found * ((1 + shares) ** 2 / 2) ** 2
    counts = np.maximum(parts.counts, 1)
    effective = (shares * (1 - shares) + 1 / counts) / (found + design / counts**2)
    low, high = wilson(shares, effective, critical)
    level = 2 * stats.norm.sf(critical)
    low = np.minimum(low, _rare_limit(shares * effective, level) / effective)
    high = np.maximum(high, 1 - _rare_limit((1 - shares) * effective, level) / effective)
    return (2 * low / (1 + low), 2 * high / (1 + high)) if parts.kind == "f1" else (low, high)


def _rare_limit(events: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the lower limit [P] of the expected number of few events, where Wilson's is too high; infinite elsewhere.

    The modification of Brown, Cai & DasGupta 2001 (Statistical Science 16:101, section 4.1.1): without it, a share of
    0.98 is excluded by the first error among eight images.
    """
    few = (events > 0.5) & (events <= MOST_RARE)
    return np.where(few, stats.chi2.ppf(level, 2 * np.maximum(events, 0.5)) / 2, np.inf)


def _of_areas(
    parts: Parts, images: int, found: np.ndarray, design: np.ndarray, critical: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Newcombe's limits [P] of ROC areas, by bisection."""
    positives = parts.counts
    negatives = images - positives
    least = 0.1 / np.minimum(positives, negatives) ** 2
    on_paper = _variance_on_paper(parts.values, positives, negatives)
    trust = np.minimum(positives, negatives) / design
    scale = (trust * (found + least) / (on_paper + least) + TRUSTED * design) / (trust + TRUSTED)
    bounds = []
    for outer in (0.0, 1.0):
        inside, outside = parts.values.copy(), np.full_like(parts.values, outer)
        for _ in range(50):
            middle = (inside + outside) / 2
            variance = _variance_on_paper(middle, positives, negatives) * scale
            within = (middle - parts.values) ** 2 <= critical**2 * variance
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        bounds.append(inside)
    return bounds[0], bounds[1]


def _variance_on_paper(area: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Return the variance of an area by Hanley & McNeil 1982, in Newcombe's form that both classes share."""
    images = (positives + negatives) / 2 - 1
    bracket = 1 + images * ((1 - area) / (2 - area) + area / (1 + area))
    return np.asarray(area * (1 - area) * bracket / (positives * negatives))


def _combined(
    parts: Parts, covariance: np.ndarray, found: np.ndarray, design: np.ndarray, distance: np.ndarray
) -> float:
    """Return half the width of the mean's interval from those [P] of its parts, with their correlations.

    As if one more image of each class had been judged wrong: which two parts an error touches is known before any
    error was made.
    """
    size = len(distance)
    least = design / np.maximum(parts.counts, 1) ** 2
    pseudo = np.diag(least)
    if parts.kind == "f1" and size > 1:  # an image of one class that is taken for another lowers both
        each = parts.values * np.sqrt(least)
        shared = np.outer(each, each) / (size - 1)
        pseudo = np.where(np.eye(size, dtype=bool), pseudo, shared)
    total = covariance + pseudo
    spread = np.sqrt(np.maximum(np.diagonal(total), found + least))
    correlation = total / np.outer(spread, spread)
    np.fill_diagonal(correlation, 1.0)
    weighted = parts.weights * distance
    return float(np.sqrt(max(0.0, weighted @ correlation @ weighted)))
