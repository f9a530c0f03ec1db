"""Pooling of folds: what the trainings of a square say of the images that each of them judges, as one sample.

Of a fold's training the answers after the epoch count that the other folds choose (`chosen_epochs`); where its archive
is not here, those of its best weights. A square counts with the folds that the fullest squares have.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from resomap.cells.out_of_fold import OutOfFold, out_of_fold_path
from resomap.cells.predictions import SplitPredictions
from resomap.statistics import Position
from resomap.statistics.chosen_epochs import epochs_by_others
from resomap.summary.trained import Trained


def counted_folds(trained: Iterable[Trained]) -> frozenset[int]:
    """Return the folds that squares are compared by: those of the fullest squares, of equals the most frequent ones."""
    held: dict[tuple[Position, int], set[int]] = defaultdict(set)
    for one in trained:
        if one.cell.fold is not None and one.predictions is not None:
            held[one.position, one.cell.seed].add(one.cell.fold)
    sets = {frozenset(folds) for folds in held.values()}

    def rank(folds: frozenset[int]) -> tuple[int, int, list[int]]:
        return len(folds), sum(folds <= other for other in held.values()), [-fold for fold in sorted(folds)]

    return max(sets, key=rank, default=frozenset())


def pooled(trained: Sequence[Trained], folds: frozenset[int]) -> dict[int, tuple[SplitPredictions, SplitPredictions]]:
    """Return {seed: pooled validation predictions of one square}, of seeds that have all of these folds.

    Twice: after the epochs that other folds chose, and the same fit for metrics of probabilities, which classes and
    losses are not: there it has the answers of the best weights.
    """
    by_seed: dict[int, dict[int, Trained]] = defaultdict(dict)
    for one in trained:
        if one.cell.fold in folds and one.predictions is not None:
            by_seed[one.cell.seed][int(one.cell.fold or 0)] = one
    return {seed: _pooled(found) for seed, found in by_seed.items() if folds <= found.keys()}


def joined(parts: Mapping[int, SplitPredictions]) -> SplitPredictions:
    """Return the predictions of several folds, {fold: its images}, as one, with the fold of each image."""
    order = sorted(parts)
    groups, start = [], 0
    for fold in order:
        own = parts[fold].groups
        numbers = np.arange(len(parts[fold].labels)) if own is None else np.unique(own, return_inverse=True)[1]
        groups.append(numbers + start)
        start += int(numbers.max(initial=-1)) + 1
    return SplitPredictions(
        [name for fold in order for name in parts[fold].names],
        np.concatenate([np.asarray(parts[fold].labels) for fold in order]),
        np.concatenate([parts[fold].log_probabilities for fold in order]),
        np.concatenate(groups) if any(parts[fold].groups is not None for fold in order) else None,
        np.concatenate([np.full(len(parts[fold].labels), fold) for fold in order]),
    )


def _pooled(found: Mapping[int, Trained]) -> tuple[SplitPredictions, SplitPredictions]:
    archives = {fold: archive for fold, one in found.items() if (archive := _archive(one)) is not None}
    curves = {fold: _curve(archive) for fold, archive in archives.items()}
    epochs = epochs_by_others(curves, any(archive.monitor == "loss" for archive in archives.values()))
    judged: dict[int, SplitPredictions] = {}
    probable: dict[int, SplitPredictions] = {}
    for fold, one in found.items():
        assert one.predictions is not None
        best = judged[fold] = probable[fold] = one.predictions.splits["val"]
        archive = archives.get(fold)
        if archive is None or epochs[fold] == one.marker.best_epoch:
            continue
        after = archive.after(epochs[fold])
        if after is not None:
            judged[fold] = replace(best, log_probabilities=after)
            probable[fold] = judged[fold] if archive.log_probabilities is not None else best
    return joined(judged), joined(probable)


def _archive(one: Trained) -> OutOfFold | None:
    """Return the archive of a training, where it is of the very training and of its images."""
    found, known = OutOfFold.load(out_of_fold_path(one.cell)), one.predictions
    if found is None or known is None or not one.marker.is_of(found.fingerprint, found.uid):
        return None
    part = known.splits["val"]
    same = list(found.names) == list(part.names) and np.array_equal(found.labels, part.labels)
    return found if same and found.classes == known.classes else None


def _curve(archive: OutOfFold) -> np.ndarray:
    values = np.full(int(archive.epochs.max(initial=0)), np.nan)
    values[archive.epochs - 1] = archive.monitored
    return values
