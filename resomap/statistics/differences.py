"""Simultaneous critical values of differences of cells, by simulation: how far they can stray by chance alone.

A parametric bootstrap of the studentised differences, after Hothorn, Bretz & Westfall 2008 ("Simultaneous inference
in general parametric models"): normal values with the covariance that was estimated, over standard errors that vary
as their degrees of freedom say. Comparisons that share a cell or images are correlated, so the maximum
over all of them needs a smaller critical value than Bonferroni's.
"""

import numpy as np

from resomap.statistics.interval_estimates import PSEUDO_IMAGES, Estimates


class Differences:
    """Differences of the cells of one map: standard errors [K, K] and draws of their studentised errors."""

    def __init__(self, estimates: Estimates, draws: int) -> None:
        covariance, common, between = estimates.image_covariance, estimates.common, estimates.between
        size = len(common)
        # Two cells disagree on images of a group together, but less so than each is right or wrong on them.
        self._pseudo = PSEUDO_IMAGES * estimates.grain / np.sqrt(estimates.groups.design_effect())
        # Images that the two cells judge differently whatever the seed; the rest is known by the seeds alone.
        apart = np.maximum(0, common[:, None] + common[None, :] - 2 * covariance) * (1 - np.eye(size))
        self._apart, self._between = apart, between
        self._own = np.maximum(0, np.diagonal(covariance) - common)
        extra = np.maximum(0, common + between - np.diagonal(covariance))
        sampled = covariance + np.diag(extra + self._pseudo / 2)
        self._spread = np.sqrt(_of_pairs(sampled)) + np.eye(size)  # no cell is compared with itself
        self.errors = np.sqrt(np.maximum(_of_pairs(covariance), apart + _sums(between)) + self._pseudo)
        # The same seed always: the same predictions give the same map.
        random = np.random.default_rng(0)
        values, vectors = np.linalg.eigh(sampled)
        self._errors_drawn = random.standard_normal((draws, size)) @ (vectors * np.sqrt(np.maximum(values, 0))).T
        # One variance of several cells has one error, the same for all of them.
        self._factors = np.ones((draws, size))
        if estimates.scatter:
            _, first, place = np.unique(estimates.scatter.pools, return_index=True, return_inverse=True)
            freedom = estimates.scatter.freedom[first]
            self._factors = (random.chisquare(freedom, (draws, len(first))) / freedom)[:, place]
        # Few groups, or a rare class: the variance of the images is known as badly.
        self._image_factors = np.ones((draws, 1))
        if np.isfinite(estimates.freedom):
            self._image_factors = random.chisquare(estimates.freedom, (draws, 1)) / estimates.freedom

    def studentised(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return draws [draws, pairs] of the error of first - second over its estimated standard error.

        `first` and `second` are indices [pairs].
        """
        error = (self._errors_drawn[:, first] - self._errors_drawn[:, second]) / self._spread[first, second]
        images = self._apart[first, second]
        one, other = self._between[first], self._between[second]
        between = one * self._factors[:, first] + other * self._factors[:, second]
        estimated = images * self._image_factors + self._pseudo + between
        return np.asarray(error / np.sqrt(estimated / (images + self._pseudo + one + other)))

    def scaled(self, images: float, seeds: float) -> np.ndarray:
        """Return standard errors [K, K] about as they would be with so many times the images and the seeds."""
        by_seed = self._own / images + np.maximum(0, self._between - self._own)
        return np.sqrt(self._apart / images + _sums(by_seed) / seeds + self._pseudo / images**2)


def _sums(variances: np.ndarray) -> np.ndarray:
    return variances[:, None] + variances[None, :]


def _of_pairs(covariance: np.ndarray) -> np.ndarray:
    variances = np.diagonal(covariance)
    return np.maximum(0, _sums(variances) - 2 * covariance)
