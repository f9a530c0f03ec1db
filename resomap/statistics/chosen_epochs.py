"""Epoch of each fold's training as the other folds choose it: no image has a say in the epoch that it is judged at."""

from collections.abc import Mapping

import numpy as np


def epochs_by_others(curves: Mapping[int, np.ndarray], is_loss: bool) -> dict[int, int]:
    """Return {fold: epoch, counted from 1}: the best epoch of the mean of the other folds' curves.

    curves: {fold: values [epochs of its training]} of the metric that chooses epochs; NaN: undefined, or not known. A
    curve that ended early stays at its last value. Only epochs that a fold itself has a value of can be its own; the
    first of equals. A fold without others chooses by itself.
    """
    return {fold: _epoch(curves, fold, is_loss) for fold in curves}


def _epoch(curves: Mapping[int, np.ndarray], fold: int, is_loss: bool) -> int:
    own = np.asarray(curves[fold], dtype=float)
    others = [_stretched(curve, len(own)) for other, curve in curves.items() if other != fold and len(curve)]
    known = np.array(others) if others else own[None]
    values = np.full(len(own), np.nan)
    defined = ~np.isnan(known).all(axis=0)
    values[defined] = np.nanmean(known[:, defined], axis=0)
    values[np.isnan(own)] = np.nan
    if np.isnan(values).all():
        values = own
    if np.isnan(values).all():
        return len(own)
    return int(np.nanargmin(values if is_loss else -values)) + 1


def _stretched(curve: np.ndarray, length: int) -> np.ndarray:
    """Return the curve with this length: cut, or with its last value repeated."""
    values = np.asarray(curve, dtype=float)[:length]
    return np.concatenate([values, np.full(length - len(values), values[-1])])
