"""Cells within the margin of the best, decided on validation alone: the test split only reports."""

from collections.abc import Sequence


def within_margin(values: Sequence[float | None], margin: float) -> list[bool]:
    """Return, for each validation quality (higher is better), True if its deficit to the highest is at most `margin`.

    An undefined quality is within no margin.
    """
    best = max((value for value in values if value is not None), default=None)
    # 0.84 - 0.83 is a little more than 0.01 in binary: rounding must not decide.
    return [best is not None and value is not None and best - value <= margin + 1e-9 for value in values]
