"""Parity of an export: its answers to validation images beside those of the network that was trained.

In float32 the file must compute the same: no logit may differ by more than 1e-3 of the largest one, and no decision but
in ties within that. In lower precision it may differ as long as it is as good: the upper 95 % bound of the quality lost
must be within the margin that the map decides by.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resomap.cells.decision import OperatingPoint
from resomap.compute.thresholds import log_odds
from resomap.core.errors import ResomapError
from resomap.export.export_files import FP32
from resomap.statistics import Question, Sample, estimate, intervals
from resomap.statistics.differences import Differences
from resomap.statistics.interval_estimates import DRAWS

# Largest difference of logits in float32, as a share of the largest logit.
TOLERANCE = 1e-3
LEVEL = 0.95
_ORIGINAL, _EXPORTED = ("original", 0), ("exported", 0)


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers to the same images: true labels int [N], groups int [N] or None, and logits or log-probabilities.

    `reference`, `exported` float32 [N, classes]: logits of the network in float32 and of the file. `original`:
    log-probabilities as the cell was evaluated, in the precision of its training. `alone` [classes]: the file's logits
    of the first image in a batch of its own.
    """

    labels: np.ndarray
    groups: np.ndarray | None
    reference: np.ndarray
    exported: np.ndarray
    original: np.ndarray
    alone: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Quality of the cell as evaluated and of the file, with 95 % intervals, and what is lost; shares of 1.

    upper: one-sided 95 % bound of the loss, paired by images.
    """

    metric: str
    original: float
    original_interval: tuple[float, float]
    exported: float
    exported_interval: tuple[float, float]
    lost: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Figures of the comparison. Shares of decisions are of all images; `changed_beyond_ties` counts images."""

    images: int
    largest_logit: float
    largest_difference: float
    changed_decisions: float  # against the network in float32
    changed_beyond_ties: int
    changed_from_evaluation: float
    loss: Loss | None  # None: the metric is undefined on these images
    margin: float

    @property
    def tolerance(self) -> float:
        """Largest difference of logits that float32 may have."""
        return TOLERANCE * self.largest_logit

    def refusal(self, precision: str) -> str | None:
        """Return why the file is not to be used, with the number; None where it may be."""
        if not np.isfinite(self.largest_difference):
            return f"on {self.images} validation images its logits are not all finite"
        if precision == FP32:
            return self._refusal_of_float32()
        if self.loss is None:
            return f"its quality is undefined on the {self.images} validation images (a class has none of them)"
        if self.loss.upper > self.margin:
            return (
                f"on {self.images} validation images it may lose up to {self.loss.upper:.4f} {self.loss.metric} (upper "
                f"95 % bound; lost there: {self.loss.lost:.4f}), and report.margin is {self.margin:g}"
            )
        return None

    def _refusal_of_float32(self) -> str | None:
        if self.largest_difference > self.tolerance:
            return (
                f"on {self.images} validation images its logits differ by up to {self.largest_difference:.3g}, and "
                f"{self.tolerance:.3g} ({TOLERANCE:g} of the largest) is allowed"
            )
        if self.changed_beyond_ties:
            return f"it decides otherwise on {self.changed_beyond_ties} of {self.images} validation images"
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the figures for the parity file."""
        return {**asdict(self), "tolerance": self.tolerance}


def parity(answers: Answers, metric: Question, margin: float, point: tuple[int, float] | None) -> Parity:
    """Compare the answers. `point`: index of the positive class, and the threshold of its log odds."""
    reference, exported = answers.reference, answers.exported
    largest = float(np.abs(reference).max())
    is_finite = bool(np.isfinite(exported).all() and np.isfinite(answers.alone).all())
    difference = float("nan")
    if is_finite:
        difference = float(max(np.abs(exported - reference).max(), np.abs(answers.alone - reference[0]).max()))
    logs, own = log_softmax(exported), log_softmax(reference)
    changed, gap = _changed(own, logs, point)
    return Parity(
        images=len(answers.labels),
        largest_logit=largest,
        largest_difference=difference,
        changed_decisions=float(changed.mean()),
        changed_beyond_ties=int((changed & (gap > TOLERANCE * largest)).sum()),
        changed_from_evaluation=float(_changed(answers.original, logs, point)[0].mean()),
        loss=_loss(answers, logs, metric) if is_finite else None,
        margin=margin,
    )


def point_on(point: OperatingPoint | None, classes: list[str]) -> tuple[int, float] | None:
    """Return an operating point's class as an index, and its threshold."""
    return (classes.index(point.positive), point.threshold) if point else None


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log-probabilities float32 [N, classes] of logits, worked out in double precision."""
    exact = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of logits that are not finite
        exact -= exact.max(axis=1, keepdims=True)
        exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return np.maximum(exact, np.finfo(np.float32).min).astype(np.float32)


def _changed(one: np.ndarray, other: np.ndarray, point: tuple[int, float] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return which images, bool [N], are decided otherwise, and how far [N] the first was from deciding so itself."""
    rows = np.arange(len(one))
    chosen = other.argmax(axis=1)
    gap = one.max(axis=1) - one[rows, chosen]
    changed = one.argmax(axis=1) != chosen
    if point is not None:
        positive, threshold = point
        odds = log_odds(one, positive)
        turned = (odds > threshold) != (log_odds(other, positive) > threshold)
        gap = np.maximum(gap, np.where(turned, np.abs(odds - threshold), 0))
        changed |= turned
    return changed, gap


def _loss(answers: Answers, logs: np.ndarray, metric: Question) -> Loss | None:
    cells = {
        _ORIGINAL: [Sample(answers.labels, answers.original, answers.groups)],
        _EXPORTED: [Sample(answers.labels, logs, answers.groups)],
    }
    try:
        estimates = estimate(cells, metric)
    except ResomapError:  # undefined for both
        return None
    if estimates.undefined:
        return None
    found, differences = intervals(estimates), Differences(estimates, DRAWS)
    original, exported = found[_ORIGINAL], found[_EXPORTED]
    highest = float(np.quantile(differences.studentised(np.array([0]), np.array([1])), LEVEL))
    lost = original.value - exported.value
    return Loss(
        metric=str(metric),
        original=original.value,
        original_interval=(original.low, original.high),
        exported=exported.value,
        exported_interval=(exported.low, exported.high),
        lost=lost,
        upper=lost + highest * float(differences.errors[0, 1]),
    )
