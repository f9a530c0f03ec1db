"""Thresholds of operating points: positive or not, by one class's log odds, at a wanted sensitivity or specificity.

An image is called positive where its score, log p - log(1 - p) of the positive class, is above the threshold; with two
classes that is the difference of the logits. The threshold is the quantile of one class's scores that a new image of
that class keeps to with the wanted probability: on average over samples of n images the k-th largest score is exceeded
with probability k / (n + 1), whatever the distribution (Hyndman & Fan 1996, type 6). The share in the sample itself
would promise too much with few images.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from resomap.core.log_probabilities import class_margins

ThresholdMetric: TypeAlias = Literal["sensitivity_at_specificity", "specificity_at_sensitivity", "precision_at_recall"]
RankMetric: TypeAlias = Literal["average_precision"]
# The share that the threshold holds, by metric.
HELD: dict[ThresholdMetric, str] = {
    "sensitivity_at_specificity": "specificity",
    "specificity_at_sensitivity": "sensitivity",
    "precision_at_recall": "recall",
}


@dataclass(frozen=True)
class OneVsRest:
    """A metric of one class against all others; `positive` is the class's index, `at` the share to hold (0..1).

    With `average_precision`, which needs no threshold, `at` has no meaning.
    """

    metric: ThresholdMetric | RankMetric
    positive: int
    at: float = 0.9

    def __str__(self) -> str:
        """Return the name for sentences, with `_` for spaces: `sensitivity_at_specificity_0.9`."""
        return f"{self.metric}_{self.at:g}" if self.needs_threshold else self.metric

    @property
    def needs_threshold(self) -> bool:
        """True if the metric speaks of decisions at a threshold, False if of the ranking alone."""
        return self.metric in get_args(ThresholdMetric)

    @property
    def holds_negatives(self) -> bool:
        """True if the threshold is a quantile of the negatives' scores, False if of the positives'."""
        return self.metric == "sensitivity_at_specificity"


def log_odds(log_probabilities: np.ndarray, positive: int) -> np.ndarray:
    """Return the log odds float64 [N] of one class against all others, of log-probabilities [N, classes]."""
    return class_margins(log_probabilities)[:, positive]


def choose_threshold(scores: np.ndarray, is_positive: np.ndarray, wanted: OneVsRest) -> float | None:
    """Return the threshold of scores [N] and truths bool [N]; None where the class that it holds has no images.

    On these images themselves the wanted share is never missed.
    """
    held = -scores[~is_positive] if wanted.holds_negatives else scores[is_positive]
    if len(held) == 0:
        return None
    # `held` counts as kept where it is above the threshold, or, for negatives, at it.
    missed = 1 - wanted.at
    ranked = np.sort(held)
    quantile = float(np.quantile(ranked, missed, method="weibull"))
    allowed = math.floor(missed * len(ranked) + 1e-9)  # at most so many may be missed here
    quantile = min(quantile, float(ranked[min(allowed, len(ranked) - 1)]))
    # Positive is what is above the threshold: a negative at it is kept, a positive would be missed.
    return -quantile if wanted.holds_negatives else float(np.nextafter(quantile, -np.inf))


def share_at(called: np.ndarray, is_positive: np.ndarray, metric: ThresholdMetric) -> float | None:
    """Return the metric of decisions bool [N] and truths bool [N]; None where nothing is there to count."""
    hits, counted = hits_and_counted(called, is_positive, metric)
    return float(hits[counted].mean()) if counted.any() else None


def hits_and_counted(
    called: np.ndarray, is_positive: np.ndarray, metric: ThresholdMetric
) -> tuple[np.ndarray, np.ndarray]:
    """Return, bool [N] each, which images are right and which are counted: the metric is the share of these."""
    if metric == "precision_at_recall":
        return is_positive, called
    if metric == "sensitivity_at_specificity":
        return called, is_positive
    return ~called, ~is_positive


def least_held(at: float) -> int:
    """Return how many images the held class needs: fewer cannot show that the wanted share is kept on average."""
    return math.ceil(at / (1 - at) - 1e-9)
