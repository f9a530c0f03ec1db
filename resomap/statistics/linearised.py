"""Linear model of a map's qualities in log odds, which the posterior is found in.

    log odds of a cell's quality = mean + effect of its model + smooth effect of its resolution
                                 + smooth curve of its model's own over the resolutions + its own effect

Each kind of effect has one standard deviation for the whole map, which nobody knows. The errors have the covariance of
`Estimates`, smoothed over the grid. The model is linearised at the fitted qualities (penalised quasi-likelihood,
Breslow & Clayton 1993, JASA 88:9), so that a cell that is right on every image is an observation like any other.
"""

from collections.abc import Mapping

import numpy as np
from scipy import linalg, optimize, special

from resomap.statistics.alike_pairs import mean_of_alike, same_model
from resomap.statistics.interval_estimates import Estimates
from resomap.statistics.pattern import breaking_model

ROUNDS = 3  # of linearisation; the fitted qualities move little after the second
OCTAVES = 1.5  # over which smooth curves stay alike
MEAN = 25.0  # variance of the overall mean, in log odds: unknown
LEAST = 1e-4  # quality at which log odds end
Prior = tuple[float, float]
"""Log-normal prior of a standard deviation in log odds: its median, and the deviation of its logarithm."""

# Medians and widths that leave open all that grids of trainings have shown, where nine of ten images are right: 0.1 is
# one point there. Where more are right effects are as large in points, so larger in log odds (`_of_effects`).
EFFECTS: Mapping[str, Prior] = {
    "model": (0.15, 1.2),
    "resolution": (0.2, 1.2),
    "curve": (0.05, 1.0),
    "cell": (0.03, 1.0),
}
# With one seed a cell, its own effect and training noise are told apart by these two alone.
CELL_OF_ONE_SEED: Prior = (0.04, 0.9)
NOISE_OF_ONE_SEED: Prior = (0.08, 0.6)
# Where one model breaks the pattern nothing is learned from rows and columns.
UNPOOLED: Mapping[str, Prior] = {
    "model": (1e-3, 0.1),
    "resolution": (1e-3, 0.1),
    "curve": (1e-3, 0.1),
    "cell": (0.5, 1.0),
}
CELL = list(EFFECTS).index("cell")
SHARE = 0.9 * (1 - 0.9)  # slope of quality over log odds where nine of ten are right
WIDEST = 10.0  # times the median at most: with a smaller slope, nearly all qualities are within a point
# Of the training noise of folds: their scatter hides a part, which differs from learner to learner (`fold_noise`).
UNCERTAINTY_OF_FOLDS = 0.5


class Linearised:
    """Linear model of one map, at its likeliest standard deviations.

    values [K]: observations in log odds; parts [P, K, K]: covariances of the kinds of effects, in the order of EFFECTS,
    then of the errors by images and by training noise; priors [P, 2]: of the standard deviation that each is scaled by
    (errors: of a factor near 1); mode [P]: logarithms of the likeliest. breaking: the model that breaks the pattern.
    """

    def __init__(self, estimates: Estimates) -> None:
        self.estimates = estimates
        self.reach = 1 - estimates.lowest
        observed = (estimates.values - estimates.lowest) / self.reach
        count = estimates.effective_images
        fitted = np.clip((observed * count + 2 * observed.mean()) / (count + 2), LEAST, 1 - LEAST)
        self.breaking = breaking_model(estimates.cells, special.logit(fitted), 1 / np.sqrt(fitted * (1 - fitted)))
        of_effects = _of_effects(estimates, fitted, self.breaking is not None)
        self.priors = np.array([*of_effects, *_certainty(estimates)])
        self.mode = np.log(self.priors[:, 0])
        effects = _kernels(estimates)
        for _ in range(ROUNDS):
            fitted = np.clip(fitted, LEAST, 1 - LEAST)
            slope = 1 / (fitted * (1 - fitted))
            self.values = special.logit(fitted) + (observed - fitted) * slope
            scale = np.outer(slope, slope) / self.reach**2
            self.parts = np.stack([*effects, *(part * scale for part in _errors(estimates, fitted))])
            self.mode = self._likeliest(self.mode)
            fitted = special.expit(self.given(self.mode)[0])

    def covariance(self, logs: np.ndarray) -> np.ndarray:
        """Return the covariance [K, K] of the values for these logarithms [P] of standard deviations."""
        return MEAN + np.tensordot(np.exp(2 * logs), self.parts, 1)

    def given(self, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean [K] and covariance [K, K] of the cells' log odds, given the logarithms [P]."""
        errors = np.tensordot(np.exp(2 * logs[CELL + 1 :]), self.parts[CELL + 1 :], 1)
        return self.with_errors(logs, errors)

    def with_errors(self, logs: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the same if the errors had this covariance [K, K]; the values are those at hand."""
        prior = MEAN + np.tensordot(np.exp(2 * logs[: CELL + 1]), self.parts[: CELL + 1], 1)
        gain = linalg.solve(prior + errors, prior, assume_a="pos", check_finite=False).T
        return gain @ self.values, prior - gain @ prior

    def deviance(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the log posterior density of the logarithms [P], and its gradient."""
        factor = linalg.cholesky(self.covariance(logs), lower=True, check_finite=False)
        inverse = linalg.lapack.dpotri(factor, lower=True)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weighted = inverse @ self.values
        standard = (logs - np.log(self.priors[:, 0])) / self.priors[:, 1]
        value = np.log(np.diagonal(factor)).sum() + 0.5 * (self.values @ weighted + standard @ standard)
        explained = self.parts.reshape(len(logs), -1) @ (inverse - np.outer(weighted, weighted)).ravel()
        return float(value), np.exp(2 * logs) * explained + standard / self.priors[:, 1]

    def information(self, logs: np.ndarray) -> np.ndarray:
        """Return the expected information [P, P] of the logarithms: Fisher's, and that of the prior."""
        inverse = linalg.inv(self.covariance(logs))
        changes = np.exp(2 * logs)[:, None, None] * (inverse @ self.parts)
        return np.asarray(2 * np.einsum("aij,bji->ab", changes, changes) + np.diag(self.priors[:, 1] ** -2.0))

    def _likeliest(self, start: np.ndarray) -> np.ndarray:
        centre, width = np.log(self.priors[:, 0]), self.priors[:, 1]
        bounds = list(zip(centre - 6 * width, centre + 6 * width, strict=True))
        options = {"ftol": 1e-5, "gtol": 1e-2}
        found = optimize.minimize(self.deviance, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.asarray(found.x)


def _of_effects(estimates: Estimates, fitted: np.ndarray, is_broken: bool) -> list[Prior]:
    """Return the priors of the kinds of effects, in the order of EFFECTS, for cells of about these qualities [K].

    Where all are nearly always right, one model may well err three times as often as another: a point or two, and more
    than a unit in log odds. A prior for which that is too much draws cells together that differ.
    """
    effects = UNPOOLED if is_broken else EFFECTS
    if estimates.scatter is None and not is_broken:
        effects = {**effects, "cell": CELL_OF_ONE_SEED}
    wider = float(np.clip(SHARE / (fitted * (1 - fitted)).mean(), 1.0, WIDEST))
    return [(median * wider, width) for median, width in effects.values()]


def _certainty(estimates: Estimates) -> list[Prior]:
    """Return the priors of the factors by which the errors of images and of training noise are off.

    Few groups, or a rare class, tell the images' variance as badly as few seeds that of training noise.
    """
    images = (1.0, max(0.02, 1 / np.sqrt(2 * max(1.0, estimates.freedom))))
    if estimates.scatter is None:
        return [images, NOISE_OF_ONE_SEED]
    noise = max(0.02, 1 / np.sqrt(2 * float(estimates.scatter.freedom.min())))
    return [images, (1.0, noise if estimates.folds is None else float(np.hypot(noise, UNCERTAINTY_OF_FOLDS)))]


def _kernels(estimates: Estimates) -> list[np.ndarray]:
    """Return the correlations [K, K] of the effects of models and resolutions, of own curves, and of single cells."""
    octaves = np.log2(np.array([cell[1] for cell in estimates.cells], dtype=float))
    same = same_model(estimates.cells)
    apart = np.sqrt(3) * np.abs(octaves[:, None] - octaves[None, :]) / OCTAVES
    smooth = (1 + apart) * np.exp(-apart)  # Matérn's of order 3/2
    return [same, smooth, same * smooth, np.eye(len(same))]


def _errors(estimates: Estimates, fitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariances [K, K] of images and of training noise, the images' smoothed over the grid.

    The variance found for a cell falls as its value rises by luck, so variances go with value (1 - value) of the fitted
    values [K]; and the correlation of two cells is that of all pairs alike (one model, one resolution, neither). With
    one seed the noise is a unit in log odds, the same for all cells.
    """
    share = fitted * (1 - fitted) + 1 / estimates.effective_images
    # One image's worth is the least that the images can be wrong by, where all cells are right on all of them.
    common = share * (max(float(estimates.common.mean()), estimates.grain) / share.mean())
    spread = np.sqrt(np.maximum(estimates.common, 0.25 * estimates.common.mean() + estimates.grain**2))
    images = _smooth(estimates, estimates.image_covariance / np.outer(spread, spread))
    images *= np.sqrt(np.outer(common, common))
    if estimates.scatter is None:
        return images, np.diag((fitted * (1 - fitted) * (1 - estimates.lowest)) ** 2)
    return images, np.diag(estimates.between)


def _smooth(estimates: Estimates, correlation: np.ndarray) -> np.ndarray:
    """Return the correlation [K, K] with the mean of all pairs alike in the place of each, positive definite."""
    values, vectors = linalg.eigh(mean_of_alike(correlation, estimates.cells) + np.eye(len(correlation)))
    return np.asarray((vectors * np.maximum(values, 1e-6)) @ vectors.T)
