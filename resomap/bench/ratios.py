"""Paired measurement of two things, in turn, so that what disturbs the machine disturbs both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paired:
    """Rates of ours and of the other, pair by pair; higher is better."""

    ours: Sequence[float]
    other: Sequence[float]

    @classmethod
    def measure(cls, ours: Callable[[int], float], other: Callable[[int], float], repeats: int) -> "Paired":
        """Run both once to warm up, then in turn; which begins alternates. The functions take the round's number."""
        ours(0)
        other(0)
        pairs: list[tuple[float, float]] = []
        for number in range(1, repeats + 1):
            if number % 2:
                first = ours(number)
                pairs.append((first, other(number)))
            else:
                second = other(number)
                pairs.append((ours(number), second))
        return cls(*zip(*pairs, strict=True))

    @property
    def ratio(self) -> float:
        """Median over the pairs of ours / other."""
        return statistics.median(self.ratios)

    @property
    def ratios(self) -> list[float]:
        """Ratio ours / other of each pair."""
        return [one / two for one, two in zip(self.ours, self.other, strict=True)]

    def cells(self) -> list[str]:
        """Return `ours`, `other`, `ratio (range)` for a table."""
        return [
            f"{statistics.median(self.ours):,.0f}",
            f"{statistics.median(self.other):,.0f}",
            median_and_range(self.ratios, ".2f"),
        ]


def median_and_range(values: Sequence[float], form: str) -> str:
    """Return `1.20 (1.05 to 1.24)`."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
