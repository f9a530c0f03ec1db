"""Operating points: what a model finds at a threshold that holds a wanted specificity, sensitivity or recall.

Where cells are compared by an operating point, each image is judged at a threshold chosen without it: the images are
dealt into folds, all of a group into one, and each fold has the threshold of the others. The noise of the threshold
enters every image's influence: an image of the held class moves the threshold, and with it the metric, by the slope of
the one along the other (for sensitivity at a specificity the slope of the ROC curve; Hsieh & Turnbull 1996, Annals of
Statistics 24:25; Pepe 2003, section 5.2). The slope is that of the secant over the 95 % interval of the held share: as
wide as the threshold is uncertain, it needs no estimate of a density.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import optimize, stats

from resomap.compute.thresholds import (
    OneVsRest,
    ThresholdMetric,
    choose_threshold,
    hits_and_counted,
    log_odds,
    share_at,
)
from resomap.statistics.groups import unbiased
from resomap.statistics.samples import Sample
from resomap.statistics.shares import effective_count

FOLDS = 10


@dataclass(frozen=True, eq=False)
class Judged:
    """A metric's value (0..1), its influence [N] of sum 0, and the number of images that it is a share of."""

    value: float
    influence: np.ndarray
    counted: int


@dataclass(frozen=True, eq=False)
class Scores:
    """Log odds [N] of the positive class, the truth bool [N] and the groups int [N] of the images, or None."""

    odds: np.ndarray
    is_positive: np.ndarray
    groups: np.ndarray | None

    @classmethod
    def of(cls, sample: Sample, positive: int) -> "Scores":
        """Return the scores of one class against all others."""
        return cls(log_odds(sample.log_probabilities, positive), sample.labels == positive, sample.groups)

    def threshold(self, wanted: OneVsRest) -> float | None:
        """Return the threshold that holds the wanted share; None without images of the class."""
        return choose_threshold(self.odds, self.is_positive, wanted)

    def called(self, threshold: float) -> np.ndarray:
        """Return which images, bool [N], are called positive."""
        return self.odds > threshold

    def held(self, wanted: OneVsRest) -> np.ndarray:
        """Return which images, bool [N], the threshold is chosen by."""
        return ~self.is_positive if wanted.holds_negatives else self.is_positive

    def thresholds_around(self, wanted: OneVsRest) -> list[tuple[float, float]]:
        """Return the thresholds between which the wanted one lies with 95 % confidence, and what share each holds.

        With n independent images the share that the k-th of them truly holds is beta distributed (k, n + 1 - k).
        """
        threshold = self.threshold(wanted)
        assert threshold is not None
        held = self.held(wanted)
        kept = (self.called(threshold) != wanted.holds_negatives)[held]
        count, critical = effective_count(kept, None if self.groups is None else self.groups[held])
        missed = missed_around(1 - wanted.at, count, float(2 * stats.norm.sf(critical)))
        ranked = np.sort(-self.odds[held] if wanted.holds_negatives else self.odds[held])
        sign = -1 if wanted.holds_negatives else 1
        return [(sign * low_quantile(ranked, level), 1 - level) for level in missed]


@lru_cache(maxsize=1024)
def missed_around(missed: float, count: float, error: float) -> tuple[float, float]:
    """Return the levels of quantiles of `count` images between which a share lies with probability 1 - error."""

    def level(probability: float) -> float:
        def excess(of_level: float) -> float:
            position = of_level * (count + 1)
            return float(stats.beta.sf(missed, position, count + 1 - position)) - probability

        least = 1e-6 / (count + 1)
        return float(optimize.brentq(excess, least, 1 - least, xtol=1e-6))

    return level(error / 2), level(1 - error / 2)


def low_quantile(ranked: np.ndarray, level: float) -> float:
    """Return a quantile of values in rising order; below the lowest of them as of an exponential tail.

    The scale of the tail is the mean excess of the lowest fifth.
    """
    least = 1 / (len(ranked) + 1)
    if level >= least:
        return float(np.quantile(ranked, level, method="weibull"))
    tail = ranked[: max(2, len(ranked) // 5 + 1)]
    return float(ranked[0] - (tail[-1] - tail).sum() / max(1, len(tail) - 1) * np.log(least / level))


def cross_fitted(sample: Sample, wanted: OneVsRest) -> Judged | None:
    """Return an operating point of one training, every image judged at a threshold of the other folds.

    None where a class has no images, or so few that a fold leaves none of them to choose by, or nothing is called
    positive whose precision could be told.
    """
    scores = Scores.of(sample, wanted.positive)
    called = _called_across(scores, wanted)
    if called is None:
        return None
    metric: ThresholdMetric = wanted.metric  # type: ignore[assignment]
    value = share_at(called, scores.is_positive, metric)
    if value is None:
        return None
    hits, counted = hits_and_counted(called, scores.is_positive, metric)
    images = len(called)
    influence = np.where(counted, hits - value, 0.0) * images / counted.sum() * unbiased(int(counted.sum()))
    influence += threshold_influence(scores, scores, wanted)
    return Judged(value, influence, int(counted.sum()))


def threshold_influence(chosen_on: Scores, judged_on: Scores, wanted: OneVsRest) -> np.ndarray:
    """Return what each image [N] of `chosen_on` moves the metric on `judged_on` by, through the threshold."""
    held = chosen_on.held(wanted)
    threshold = chosen_on.threshold(wanted)
    assert threshold is not None
    kept = chosen_on.called(threshold) != wanted.holds_negatives
    if kept[held].all():  # few images all keep to the threshold, as if it had no noise: the nearest one might not
        nearest = np.flatnonzero(held)[np.abs(chosen_on.odds[held] - threshold).argmin()]
        kept[nearest] = False
    centred = np.where(held, kept - kept[held].mean(), 0.0)
    count = int(held.sum())
    # A kept image more raises the share that the threshold seems to hold, and lowers that which it does hold.
    slope = -_slope(chosen_on, judged_on, wanted, threshold)
    return slope * centred * len(held) / count * unbiased(count)


def _slope(chosen_on: Scores, judged_on: Scores, wanted: OneVsRest, threshold: float) -> float:
    """Return by how much the metric changes for a change of the share that the threshold holds.

    Root mean square of the secants to both sides, which gives the variance right where the curve has a corner.
    """
    metric: ThresholdMetric = wanted.metric  # type: ignore[assignment]
    middle = share_at(judged_on.called(threshold), judged_on.is_positive, metric)
    slopes = []
    for other, held in chosen_on.thresholds_around(wanted):
        value = share_at(judged_on.called(other), judged_on.is_positive, metric)
        if middle is not None and value is not None:  # precision, where a threshold calls nothing positive
            slopes.append((value - middle) / (held - wanted.at))
    return float(np.copysign(np.sqrt(np.mean(np.square(slopes))), np.sum(slopes))) if slopes else 0.0


def _called_across(scores: Scores, wanted: OneVsRest) -> np.ndarray | None:
    """Return which images, bool [N], are called positive at the threshold of the folds that they are not in."""
    fold = folds(scores.is_positive, scores.groups)
    called = np.zeros(len(fold), dtype=bool)
    for number in np.unique(fold):
        inside = fold == number
        rest = Scores(scores.odds[~inside], scores.is_positive[~inside], None)
        threshold = rest.threshold(wanted)
        if threshold is None:
            return None
        called[inside] = scores.odds[inside] > threshold
    return called


def folds(is_positive: np.ndarray, groups: np.ndarray | None, count: int = FOLDS) -> np.ndarray:
    """Return the fold of each image, int [N]: groups stay whole, and each class is dealt out evenly.

    A pure function of truths and groups, so that all trainings of a map are judged in the same folds.
    """
    images = len(is_positive)
    number = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    positives = np.bincount(number, weights=is_positive)
    # Without the shuffle neighbours in the list of files, often alike, would stand in other folds each.
    shuffled = np.random.default_rng(0).permutation(len(positives))
    order = np.lexsort((shuffled, -positives))
    of_group = np.empty(len(positives), dtype=int)
    of_group[order] = np.arange(len(positives)) % count
    return np.asarray(of_group[number])
