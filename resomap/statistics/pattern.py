"""Check of the posterior's pattern: whether one model goes its own way, in which nothing is to be learned from others.

Models share how quality changes with resolution, each with a curve of its own about it. One whose curve strays much
farther than those of all others together is no draw of the same distribution: it would make the others' curves look
uncertain, and be drawn towards them itself. The test is that of an outlying variance (Cochran 1941, with the F
distribution), corrected for the number of models.
"""

import numpy as np
from scipy import stats

from resomap.statistics.samples import Position

CHANCE = 0.1  # of a false alarm
LEAST = 3  # models, and resolutions, below which no pattern can be told


def breaking_model(cells: tuple[Position, ...], values: np.ndarray, deviations: np.ndarray) -> str | None:
    """Return the model that breaks the pattern of the grid, None where none does or nothing can be told.

    values [K]: log odds of the cells; deviations [K]: standard deviations of their errors, by which they count.
    """
    models, row = np.unique(np.array([cell[0] for cell in cells]), return_inverse=True)
    sizes, column = np.unique(np.array([cell[1] for cell in cells]), return_inverse=True)
    if len(models) < LEAST or len(sizes) < LEAST:
        return None
    residuals = _residuals(values, row, column, 1 / deviations)
    squares = np.zeros(len(models))
    freedom = np.zeros(len(models))
    for index in range(len(models)):
        own = row == index
        shapes = _shapes(np.log2(sizes[column[own]].astype(float)))
        squares[index] = ((shapes.T @ residuals[own]) ** 2).sum()
        freedom[index] = shapes.shape[1] * (len(models) - 1) / len(models)
    worst = int(np.argmax(squares / np.maximum(freedom, 1e-9)))
    rest, left = squares.sum() - squares[worst], freedom.sum() - freedom[worst]
    if freedom[worst] <= 0 or rest <= 0 or left <= 0:
        return None
    p = stats.f.sf(squares[worst] / freedom[worst] / (rest / left), freedom[worst], left)
    return str(models[worst]) if p < CHANCE / len(models) else None


def _shapes(octaves: np.ndarray) -> np.ndarray:
    """Return slope and bend over these resolutions as orthonormal columns [K, at most 2]: what a curve strays by."""
    powers = np.vander(octaves - octaves.mean(), min(3, len(octaves)), increasing=True)
    return np.linalg.qr(powers)[0][:, 1:]


def _residuals(values: np.ndarray, row: np.ndarray, column: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted residuals [K] of a fit by effects of models and of resolutions."""
    effects = np.hstack([np.eye(row.max() + 1)[row], np.eye(column.max() + 1)[column]]) * weights[:, None]
    return np.asarray(values * weights - effects @ np.linalg.lstsq(effects, values * weights, rcond=None)[0])
