"""Agreement of two devices on which cell is the faster: rank correlations of their latencies."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

LEAST = 3  # cells; of two, a correlation is 1 or -1 whatever they are


@dataclass(frozen=True)
class OrderAgreement:
    """Rank correlations, -1..1; None of fewer than three cells, and where a device takes the same time for all."""

    spearman: float | None
    kendall: float | None


def order_agreement(first: Sequence[float], second: Sequence[float]) -> OrderAgreement:
    """Return the rank correlations of the latencies [N] of the same cells on two devices (Kendall's is tau-b)."""
    if len(first) < LEAST or len(set(first)) == 1 or len(set(second)) == 1:
        return OrderAgreement(None, None)
    return OrderAgreement(
        float(stats.spearmanr(first, second).statistic), float(stats.kendalltau(first, second).statistic)
    )
