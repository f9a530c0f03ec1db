"""Claims of the statistics beside what simulations measured: rows of the table in docs/claims.md."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Claim(NamedTuple):
    """A claim with its condition, what is wanted, what was measured, and the Monte Carlo standard error of that."""

    claim: str
    condition: str
    wanted: str
    measured: float
    error: float


def share_of(claim: str, condition: str, wanted: str, held: Sequence[bool] | np.ndarray) -> Claim:
    """Return a claim whose measure is the share of simulated cases [draws] in which it held."""
    share = float(np.mean(held))
    # At 0 or 1 the usual error would be nil: that of one more case stands in.
    likely = float(np.clip(share, 1 / len(held), 1 - 1 / len(held)))
    return Claim(claim, condition, wanted, share, float(np.sqrt(likely * (1 - likely) / len(held))))


def mean_of(claim: str, condition: str, wanted: str, values: Sequence[float] | np.ndarray) -> Claim:
    """Return a claim whose measure is the mean of values [draws]."""
    return Claim(claim, condition, wanted, float(np.mean(values)), float(np.std(values) / np.sqrt(len(values))))


def as_table(claims: Iterable[Claim]) -> str:
    """Return the claims as a Markdown table."""
    lines = ["| claim | condition | wanted | measured | s.e. |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.claim} | {one.condition} | {one.wanted} | {one.measured:.3f} | {one.error:.3f} |" for one in claims
    ]
    return "\n".join(lines)
