"""Figures at another prevalence: what decisions are worth where the positive class is rarer than in the images.

Sensitivity and specificity do not depend on the prevalence; accuracy and the predictive values do (Altman & Bland
1994). The limits of both shares are put together by MOVER: of a sum for accuracy (Zou & Donner 2008, Statistics in
Medicine 27:1693), of a ratio for the predictive values, whose odds are those of the prevalence times a likelihood ratio
(Donner & Zou 2012, Statistical Methods in Medical Research 21:347).
"""

import math
from dataclasses import dataclass

from resomap.statistics.shares import Share


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval, both 0..1; the value is None where it is 0 / 0."""

    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class AtPrevalence:
    """Accuracy, positive and negative predictive value at a prevalence of the positive class."""

    prevalence: float
    accuracy: Figure
    ppv: Figure
    npv: Figure


def at_prevalence(sensitivity: Share, specificity: Share, prevalence: float) -> AtPrevalence:
    """Return the figures for a prevalence (0..1, exclusive) of the positive class."""
    return AtPrevalence(
        prevalence,
        _accuracy(sensitivity, specificity, prevalence),
        _predictive(sensitivity, _complement(specificity), prevalence / (1 - prevalence)),
        _predictive(specificity, _complement(sensitivity), (1 - prevalence) / prevalence),
    )


def _accuracy(sensitivity: Share, specificity: Share, prevalence: float) -> Figure:
    weighted = [(prevalence, sensitivity), (1 - prevalence, specificity)]
    value = sum(weight * one.value for weight, one in weighted)
    below = math.hypot(*(weight * (one.value - one.low) for weight, one in weighted))
    above = math.hypot(*(weight * (one.high - one.value) for weight, one in weighted))
    return Figure(value, max(0.0, value - below), min(1.0, value + above))


def _predictive(right: Share, wrong: Share, odds: float) -> Figure:
    """Return right * odds / (right * odds + wrong): of those called one class, the share that is of it."""
    low, high = _ratio_limits(right, wrong)
    value = None if right.value == wrong.value == 0 else right.value * odds / (right.value * odds + wrong.value)
    return Figure(value, low * odds / (low * odds + 1), 1.0 if math.isinf(high) else high * odds / (high * odds + 1))


def _ratio_limits(above: Share, below: Share) -> tuple[float, float]:
    """Return the limits of above / below by MOVER-R, without logarithms, so that either may be 0."""
    a, b = above.value, below.value
    low_square = max(0.0, (a * b) ** 2 - above.low * below.high * (2 * a - above.low) * (2 * b - below.high))
    high_square = max(0.0, (a * b) ** 2 - above.high * below.low * (2 * a - above.high) * (2 * b - below.low))
    # The lower limit in the form that divides by no difference.
    divisor = a * b + math.sqrt(low_square)
    low = above.low * (2 * a - above.low) / divisor if divisor else 0.0
    high_divisor = below.low * (2 * b - below.low)
    high = (a * b + math.sqrt(high_square)) / high_divisor if high_divisor > 0 else math.inf
    return max(0.0, low), max(0.0, high)


def _complement(one: Share) -> Share:
    return Share(1 - one.value, 1 - one.high, 1 - one.low, one.images)
