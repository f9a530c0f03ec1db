"""Shared images: predictions of other images than those of most trainings are dropped, for they cannot be compared."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from resomap.cells.predictions import EVALUATED, Predictions
from resomap.summary.trained import Missing, Trained, gap_of


def with_shared_images(trained: list[Trained], missing: list[Missing]) -> list[Trained]:
    """Drop predictions of other images than those of most trainings: only shared images can be compared in pairs.

    Trainings of one fold share those that they judge, and all share those of the test split.
    """
    kept = trained
    for fold in dict.fromkeys(one.cell.fold for one in trained):
        kept = _with_most(kept, [one.cell.fold == fold for one in kept], EVALUATED, missing)
    return _with_most(kept, [True] * len(kept), ("test",), missing)


def _with_most(
    trained: list[Trained], among: Sequence[bool], splits: Sequence[str], missing: list[Missing]
) -> list[Trained]:
    pairs = list(zip(trained, among, strict=True))
    seen = Counter(_images(one.predictions, splits) for one, counts in pairs if counts and one.predictions is not None)
    if len(seen) < 2:
        return trained
    shared, _ = seen.most_common(1)[0]
    kept = []
    for one, counts in pairs:
        if counts and one.predictions is not None and _images(one.predictions, splits) != shared:
            reason = "they are of other images than those of the other cells"
            missing.append(gap_of(one, "predictions", reason))
            one = Trained(one.cell, one.marker, one.evaluation, None)
        kept.append(one)
    return kept


def _images(predictions: Predictions, splits: Sequence[str]) -> tuple[Any, ...]:
    """Return a key that is equal for predictions of the same images: classes, and names and labels of the splits."""
    parts = (predictions.splits[split] for split in splits)
    return (*predictions.classes, *((hash(tuple(part.names)), part.labels.tobytes()) for part in parts))
