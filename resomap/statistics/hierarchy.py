"""Hierarchical model of the grid: cells borrow strength from the others of their model and of their resolution.

    value of a cell = mean + effect of its model + effect of its resolution + its own effect + error

The effects are normal with variances that the grid itself tells (empirical Bayes: restricted maximum likelihood,
Patterson & Thompson 1971; Efron & Morris 1973), the errors have the covariance of `Estimates`. The posterior mean is
not led astray by choosing: the highest of many estimates is the luckiest, the highest posterior mean is not too high
on average (Senn 2008; Efron 2011, "Tweedie's formula and selection bias").
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import linalg, optimize

from resomap.statistics.alike_pairs import mean_of_alike, same_model, same_resolution
from resomap.statistics.interval_estimates import Estimates
from resomap.statistics.samples import Position

Kernels: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Pairs [K, K] that share a model, that share a resolution, and cells with themselves: 1, else 0."""

ROUNDS = 2  # of fits; expected values move little after the second


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Posterior of the cells [K] of a map: means [K] and covariance [K, K], in the order of `cells`.

    variances: of the effects of models, of resolutions, and of single cells.
    """

    cells: tuple[Position, ...]
    means: np.ndarray
    covariance: np.ndarray
    variances: tuple[float, float, float]


def hierarchy(estimates: Estimates) -> Hierarchy:
    """Fit the model to the estimates of a map. With one seed a cell training noise counts as the cells' own effect."""
    values = estimates.values
    kernels = (same_model(estimates.cells), same_resolution(estimates.cells), np.eye(len(values)))
    expected = np.full(len(values), values.mean())
    for _ in range(ROUNDS):
        error = _errors(estimates, expected)
        variances = _variances(values, error, kernels) if len(values) > 1 else np.zeros(3)
        means, covariance = _posterior(values, error, _prior(variances, kernels))
        expected = means
    return Hierarchy(
        estimates.cells, means, covariance, (float(variances[0]), float(variances[1]), float(variances[2]))
    )


def _variances(values: np.ndarray, error: np.ndarray, kernels: Kernels) -> np.ndarray:
    """Return the variances [3] of the effects that make the values likeliest (restricted maximum likelihood)."""
    scale = max(float(np.var(values)), float(np.diagonal(error).mean()))

    def deviance(logs: np.ndarray) -> float:
        factor = linalg.cholesky(error + _prior(scale * np.exp(logs), kernels), lower=True, check_finite=False)
        white = linalg.solve_triangular(factor, np.stack([values, np.ones(len(values))], axis=1), lower=True)
        weight = float(white[:, 1] @ white[:, 1])
        residual = white[:, 0] - white[:, 1] * (white[:, 1] @ white[:, 0]) / weight
        return float(2 * np.log(np.diagonal(factor)).sum() + np.log(weight) + residual @ residual)

    fit = optimize.minimize(deviance, np.full(3, -2.0), method="L-BFGS-B", bounds=[(-14.0, 3.0)] * 3)
    return np.asarray(scale * np.exp(fit.x))


def _prior(variances: np.ndarray, kernels: Kernels) -> np.ndarray:
    return np.asarray(sum(one * kernel for one, kernel in zip(variances, kernels, strict=True)))


def _posterior(values: np.ndarray, error: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean [K] and covariance [K, K] of the cells given their values, the overall mean unknown.

    That mean is the plain one: weighing by precision would lean towards the best cells, whose values vary least.
    """
    total = error + prior
    centre = float(values.mean())
    gain = prior @ linalg.inv(total)
    left = 1 - gain.sum(axis=1)
    posterior = prior - gain @ prior + float(total.mean()) * np.outer(left, left)
    return centre + gain @ (values - centre), posterior


def _errors(estimates: Estimates, expected: np.ndarray) -> np.ndarray:
    """Return the covariance [K, K] of the estimates' errors, smoothed over the grid.

    The variance found for a cell falls as its value rises by luck, and differences of cells that share images are known
    by a few images: weighing by variances as they were found would lean towards the lucky cells. So the correlation of
    two cells is that of all pairs alike (one model, one resolution, neither), and variances go with value (1 - value)
    of the expected values [K].
    """
    share = np.clip(expected, 0.0, 1.0) * (1 - np.clip(expected, 0.0, 1.0)) + 1 / estimates.effective_images
    found = estimates.variances + estimates.grain
    variances = share * found.sum() / share.sum()
    spread = np.sqrt(np.diagonal(estimates.image_covariance) + estimates.grain)
    correlation = estimates.image_covariance / np.outer(spread, spread)
    smooth = mean_of_alike(correlation, estimates.cells)
    of_images = np.sqrt(variances * (np.diagonal(estimates.image_covariance) + estimates.grain).sum() / found.sum())
    covariance = smooth * np.outer(of_images, of_images) + np.diag(variances)
    least, vectors = linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(least, estimates.grain)) @ vectors.T)
