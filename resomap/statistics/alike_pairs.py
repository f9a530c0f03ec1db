"""Pairs of cells that are alike: of one model, of one resolution, or of neither.

What a map says of one pair is known by a few images. Of all pairs alike together it is known well, and does not lean
towards the cells that were lucky.
"""

from collections.abc import Sequence

import numpy as np

from resomap.statistics.samples import Position


def same_model(cells: Sequence[Position]) -> np.ndarray:
    """Return 1 for pairs [K, K] of cells that share a model, else 0."""
    return _same([cell[0] for cell in cells])


def same_resolution(cells: Sequence[Position]) -> np.ndarray:
    """Return 1 for pairs [K, K] of cells that share a resolution, else 0."""
    return _same([cell[1] for cell in cells])


def mean_of_alike(correlation: np.ndarray, cells: Sequence[Position]) -> np.ndarray:
    """Return correlations [K, K] with the mean of all pairs alike in the place of each; of cells with themselves 0."""
    of_model, of_resolution = same_model(cells) > 0, same_resolution(cells) > 0
    itself = np.eye(len(cells)) > 0
    smooth = np.zeros_like(correlation)
    for alike in (of_model & ~itself, of_resolution & ~itself, ~of_model & ~of_resolution):
        if alike.any():
            smooth[alike] = correlation[alike].mean()
    return smooth


def _same(values: Sequence[str | int]) -> np.ndarray:
    found = np.array(values)
    return np.asarray((found[:, None] == found[None, :]).astype(float))
