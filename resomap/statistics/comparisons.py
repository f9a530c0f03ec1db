"""Paired comparisons of cells on the same images, simultaneous over all pairs that are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from resomap.statistics.differences import Differences
from resomap.statistics.interval_estimates import DRAWS, Estimates
from resomap.statistics.repeated_looks import CONFIDENCE
from resomap.statistics.samples import Position, Sample


@dataclass(frozen=True)
class Comparison:
    """Comparison `first` minus `second`: difference of the means (0..1), simultaneous 95 % interval, p value.

    Both are adjusted for all pairs, and for looking again as seeds are added.

    Without training noise it speaks of these trained models only: then `is_claim` is False whatever p, because a
    difference of two trained models is no difference of their resolutions.
    """

    first: Position
    second: Position
    difference: float
    low: float
    high: float
    p: float
    includes_training_noise: bool

    @property
    def is_distinguishable(self) -> bool:
        """True if chance (of images, and of trainings where included) does not explain the difference."""
        return self.p < 1 - CONFIDENCE

    @property
    def is_claim(self) -> bool:
        """True if one may say that the better one is better to train."""
        return self.is_distinguishable and self.includes_training_noise


@dataclass(frozen=True)
class McNemar:
    """Images that only one of two trained models classifies right, and the exact two-sided p of such a split."""

    only_first: int
    only_second: int
    p: float


def compare(estimates: Estimates, pairs: Sequence[tuple[Position, Position]], draws: int = DRAWS) -> list[Comparison]:
    """Compare all `pairs` together: the chance that any interval misses, or any p < 0.05 where nothing differs, is 5 %.

    That is the chance over all looks at the map as seeds are added (`resomap.statistics.repeated_looks`).
    Single-step maximum of the studentised differences (Westfall & Young 1993): intervals and p values agree.
    """
    if not pairs:
        return []
    differences = Differences(estimates, draws)
    first = np.array([estimates.index(one) for one, _ in pairs])
    second = np.array([estimates.index(other) for _, other in pairs])
    highest = np.sort(np.abs(differences.studentised(first, second)).max(axis=1))
    error_rate = estimates.error_rate
    critical = float(np.quantile(highest, 1 - error_rate))
    found = []
    for (one, other), i, j in zip(pairs, first, second, strict=True):
        difference = float(estimates.values[i] - estimates.values[j])
        error = float(differences.errors[i, j])
        exceeding = draws - int(np.searchsorted(highest, abs(difference) / error))
        found.append(
            Comparison(
                one,
                other,
                difference,
                max(-1.0, difference - critical * error),
                min(1.0, difference + critical * error),
                min(1.0, (exceeding + 1) / (draws + 1) * (1 - CONFIDENCE) / error_rate),
                estimates.includes_training_noise,
            )
        )
    return found


def mcnemar(first: Sample, second: Sample) -> McNemar:
    """Test two trained models' accuracy on the same images exactly (McNemar 1947), by the binomial distribution.

    Not adjusted for other comparisons, and silent about training noise.
    """
    right = [sample.log_probabilities.argmax(axis=1) == sample.labels for sample in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    disagreements = only_first + only_second
    p = float(stats.binomtest(only_first, disagreements).pvalue) if disagreements else 1.0
    return McNemar(only_first, only_second, p)
