"""Cells within the margin of the best, decided on validation alone: the test split only reports."""

from collections.abc import Sequence


def within_margin(
    values: Sequence[float | None], margin: float, folds: Sequence[int | None] | None = None
) -> list[bool]:
    """Return, for each validation quality (higher is better), True if its deficit to the highest is at most `margin`.

    An undefined quality is within no margin. `folds` are those that the qualities are of: only trainings that judge the
    same images are compared.
    """
    folds = [None] * len(values) if folds is None else folds
    best: dict[int | None, float] = {}
    for value, fold in zip(values, folds, strict=True):
        if value is not None:
            best[fold] = max(value, best.get(fold, value))
    # 0.84 - 0.83 is a little more than 0.01 in binary: rounding must not decide.
    return [
        value is not None and best[fold] - value <= margin + 1e-9 for value, fold in zip(values, folds, strict=True)
    ]
