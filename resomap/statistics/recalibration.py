"""Cox's logistic recalibration of a classifier's confidence (1958, Biometrika 45), by its likelihood ratio.

logit(right) = logit(confidence) + shift + slope x (logit(confidence) - middle): where the model is calibrated, twice
the log-likelihood that shift and slope gain is chi-squared of two numbers, else it is non-central chi-squared.
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special, stats

from resomap.statistics.repeated_looks import CONFIDENCE

# Logit of a confidence beyond which it makes no difference to the error: 1 - 1e-13.
LARGEST = 30.0
# Images that are taken to be right as often as they say, beside those seen: keeps the curve of a flawless model finite.
PSEUDO_IMAGES = 0.5
CHUNKS = 100  # of images with neighbouring confidence, which stand for their images in the likelihood
# Curves are tried on rays from the likeliest one: as far as so many standard deviations, at so many points.
RAYS, REACH, HALVINGS, POINTS = 48, 12.0, 16, 9
WIDEST = 6.0  # standard deviation of the curve's numbers at most, which a model without errors does not bound
# Of the 5 % of calibrated models that may be called uncalibrated: those by a temperature, the commonest deviation of
# networks (Guo et al. 2017), and those by any curve.
BY_TEMPERATURE, BY_ANY = 0.04, 0.01
MANY = 60  # expected errors, beyond which the ratio's distribution is as in the limit
REPEATS, NEWTON_STEPS = 200, 8


class RecalibrationCurve:
    """Recalibration curve of N images: the likeliest shift and slope, and those that the images allow."""

    def __init__(self, logits: np.ndarray, right: np.ndarray, groups: np.ndarray | None) -> None:
        order = np.argsort(logits, kind="stable")
        parts = np.array_split(order, min(CHUNKS, len(order)))
        self._logits = np.array([logits[part].mean() for part in parts])
        images = np.array([len(part) for part in parts], dtype=float)
        said = special.expit(self._logits)
        self._share = images / images.sum()
        pseudo = self._share * PSEUDO_IMAGES
        self._hits = np.array([right[part].sum() for part in parts]) + pseudo * said
        self._misses = images + pseudo - self._hits
        self._said = said
        # Shift in the middle of what the images tell, so that shift and slope are nearly independent.
        weight = (images * said * (1 - said)) / (images * said * (1 - said)).sum()
        self._middle = float(weight @ self._logits)
        self.likeliest = self._fit()
        self._design, self._freedom = self._clustering(logits, right, groups)
        self._design *= self._bartlett()
        self.ratio = float(self._ratio(np.zeros((1, 2)))[0])
        # Half of all samples of such a curve would lie nearer to calibration, half farther away.
        half = _noncentrality(self.ratio, lambda _: 0.5)
        self.typical = self.likeliest * min(1.0, float(np.sqrt(half / max(self.ratio, 1e-12))))

    def error(self, curve: np.ndarray) -> float:
        """Return the mean distance of a curve [2] to the confidences."""
        return float(self._share @ np.abs(special.expit(self._bent(curve[None]))[0] - self._said))

    def limits(self) -> tuple[float, float]:
        """Return the least and the largest error of curves that the images allow."""
        one = self._quantile(CONFIDENCE, 1)
        high = float(self._errors_within(one).max())
        if self._may_be_calibrated():
            return 0.0, high
        # From the quantile of two numbers, where none of them is told from 0, to that of one.
        heavier = self._quantile(CONFIDENCE, 2) / float(stats.chi2.ppf(CONFIDENCE, 2))
        width = np.sqrt(self.ratio) - np.sqrt(heavier * _noncentrality(self.ratio / heavier, _tail))
        return float(self._errors_within(max(one, width**2)).min()), high

    def _errors_within(self, most: float) -> np.ndarray:
        """Return the errors of curves whose ratio to the likeliest one is at most this, on rays from it."""
        bounded = self._information(self.likeliest) / self._design + np.eye(2) / WIDEST**2
        angles = np.linspace(0, 2 * np.pi, RAYS, endpoint=False)
        rays = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ np.linalg.cholesky(np.linalg.inv(bounded)).T
        inside, outside = np.zeros(RAYS), np.full(RAYS, REACH)
        for _ in range(HALVINGS):  # the ratio is convex, so that it grows along a ray
            middle = (inside + outside) / 2
            is_inside = self._ratio(self.likeliest + middle[:, None] * rays) <= most
            inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
        lengths = inside[:, None] * np.linspace(0, 1, POINTS)
        curves = self.likeliest + (lengths[:, :, None] * rays[:, None, :]).reshape(-1, 2)
        return np.asarray(np.abs(special.expit(self._bent(curves)) - self._said) @ self._share)

    def _may_be_calibrated(self) -> bool:
        if self.ratio > self._quantile(1 - BY_ANY, 2):
            return False
        # Curves through even odds: all logits times a factor, which is a temperature.
        tempered = optimize.minimize_scalar(
            lambda slope: float(self._ratio(np.array([[slope * self._middle, slope]]))[0]),
            bounds=(-1, 8),
            method="bounded",
        )
        return self.ratio - float(tempered.fun) <= self._quantile(1 - BY_TEMPERATURE, 1)

    def _fit(self) -> np.ndarray:
        def minus_log_likelihood(curve: np.ndarray) -> tuple[float, np.ndarray]:
            bent = self._bent(curve[None])[0]
            value = self._hits @ np.logaddexp(0, -bent) + self._misses @ np.logaddexp(0, bent)
            slope = (self._hits + self._misses) * special.expit(bent) - self._hits
            return float(value), np.array([slope.sum(), slope @ (self._logits - self._middle)])

        return np.asarray(optimize.minimize(minus_log_likelihood, np.zeros(2), jac=True, method="BFGS").x)

    def _bent(self, curves: np.ndarray) -> np.ndarray:
        """Return the logits [curves, chunks] of curves [curves, 2]."""
        return self._logits + curves[:, :1] + curves[:, 1:] * (self._logits - self._middle)

    def _information(self, curve: np.ndarray) -> np.ndarray:
        sure = special.expit(self._bent(curve[None])[0])
        weight = (self._hits + self._misses) * np.maximum(sure * (1 - sure), 1e-9)
        centred = self._logits - self._middle
        return np.array([[weight.sum(), weight @ centred], [weight @ centred, weight @ centred**2 + 1e-6]])

    def _ratio(self, curves: np.ndarray) -> np.ndarray:
        """Return twice the log-likelihood that curves [curves, 2] lack to the likeliest one, per design effect."""

        def log_likelihood(of: np.ndarray) -> np.ndarray:
            bent = self._bent(of)
            return -(np.logaddexp(0, -bent) @ self._hits + np.logaddexp(0, bent) @ self._misses)

        return np.asarray(2 * (log_likelihood(self.likeliest[None]) - log_likelihood(curves)) / self._design)

    def _clustering(self, logits: np.ndarray, right: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
        """Return the design effect (1 without groups) and the degrees of freedom of the quantiles."""
        if groups is None:
            return 1.0, np.inf
        _, group = np.unique(groups, return_inverse=True)
        count = int(group.max()) + 1
        bent = logits + self.likeliest[0] + self.likeliest[1] * (logits - self._middle)
        score = right - special.expit(bent)
        summed = np.stack([np.bincount(group, weights=score * one) for one in (1.0, logits - self._middle)])
        spread = summed @ summed.T * count / (count - 1)
        # The larger of the two effects: groups shift the curve more than they bend it, and the error follows the shift.
        effects = np.linalg.eigvals(np.linalg.solve(self._information(self.likeliest), spread)).real
        return max(1.0, float(effects.max())), count - 1.0

    def _bartlett(self) -> float:
        """Return by how much few expected errors enlarge a calibrated model's ratio, on average (Bartlett 1937)."""
        images = self._hits + self._misses
        if images @ (self._said * (1 - self._said)) > MANY:
            return 1.0
        random = np.random.default_rng(0)
        whole = np.rint(self._share * (images.sum() - PSEUDO_IMAGES))
        hits = (
            random.binomial(whole.astype(int), self._said, size=(REPEATS, len(whole))) + (images - whole) * self._said
        )
        centred = self._logits - self._middle
        curves = np.zeros((REPEATS, 2))
        for _ in range(NEWTON_STEPS):
            sure = special.expit(np.clip(self._bent(curves), -LARGEST, LARGEST))
            residual, weight = hits - images * sure, images * sure * (1 - sure)
            gradient = np.stack([residual.sum(axis=1), residual @ centred], axis=1)
            cross = weight @ centred
            first, last = weight.sum(axis=1) + 1e-6, weight @ centred**2 + 1e-6
            step = np.stack(
                [last * gradient[:, 0] - cross * gradient[:, 1], first * gradient[:, 1] - cross * gradient[:, 0]],
                axis=1,
            )
            curves += np.clip(step / (first * last - cross**2 + 1e-12)[:, None], -1.0, 1.0)
        bent = self._bent(curves)
        gained = (hits * (bent - self._logits)).sum(axis=1)
        gained += (images * (np.logaddexp(0, self._logits) - np.logaddexp(0, bent))).sum(axis=1)
        return max(1.0, float(np.mean(2 * gained)) / 2)

    def _quantile(self, level: float, numbers: int) -> float:
        if np.isinf(self._freedom):
            return float(stats.chi2.ppf(level, numbers))
        return float(numbers * stats.f.ppf(level, numbers, self._freedom))


def _noncentrality(ratio: float, tail: Callable[[float], float]) -> float:
    """Return the non-centrality at which chi-squared of two numbers exceeds `ratio` with a chance of tail(it); or 0."""

    def excess(value: float) -> float:
        above = stats.ncx2.sf(ratio, 2, value) if value > 0 else stats.chi2.sf(ratio, 2)
        return float(above) - tail(value)

    return 0.0 if excess(0.0) >= 0 else float(optimize.brentq(excess, 0.0, 2 * ratio + 20))


def _tail(value: float) -> float:
    """Return the chance above the upper end of what is accepted at a non-centrality: 5 % at 0, 2.5 % far from it.

    What is accepted begins 1.96 below the square root of the non-centrality, as far as there is anything; above it ends
    where 95 % are reached (in the manner of Feldman & Cousins 1998, Physical Review D 57:3873).
    """
    below = np.sqrt(value) - stats.norm.ppf((1 + CONFIDENCE) / 2)
    return 1 - CONFIDENCE - (float(stats.ncx2.cdf(below**2, 2, value)) if below > 0 else 0.0)
