"""Posterior of the true qualities of a map's cells, in which each borrows strength from its model and its resolution.

`resomap.statistics.linearised` has the model. How large each kind of effect is the map itself says, and it is not taken
for known: the posterior is a mixture over what their standard deviations may be, found as in INLA (Rue, Martino &
Chopin 2009, J. R. Stat. Soc. B 71:319): the likeliest ones, then points about them, weighted by importance. A cell's
own effect is a draw of Student's t (Gibbs sampling, Geweke 1993, J. Appl. Econometrics 8:S19): now and then one cell
is far better or worse than its row and column say. The same estimates give the same draws, always.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, special, stats

from resomap.statistics.interval_estimates import Estimates
from resomap.statistics.linearised import CELL, LEAST, MEAN, Linearised
from resomap.statistics.samples import Position

DRAWS = 4000
POINTS = 64  # of the mixture, a power of 2
CHAINS, BURNT, KEPT = 32, 8, 12  # Gibbs chains, each from a point of the mixture, and their sweeps
TAILS = 3.0  # degrees of freedom of the cells' own effects
PROPOSAL = 6.0  # degrees of freedom of the points about the likeliest standard deviations
STEP, STEPS = 0.4, 3  # of the logarithm of the deviation of the cells' own effects, a sweep
TINY = 1e-9  # variance that rounding needs


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of the true qualities [draws, K] of the cells, in the order of `cells`; all draws weigh the same."""

    cells: tuple[Position, ...]
    qualities: np.ndarray
    model: Linearised

    @property
    def breaking(self) -> str | None:
        """The model that breaks the pattern of the grid; then no cell borrows strength. None where none does."""
        return self.model.breaking

    @property
    def noise_is_known(self) -> bool:
        """True if some cell was trained twice; else training noise is what other grids of trainings have shown."""
        return self.model.estimates.scatter is not None

    @property
    def images(self) -> int:
        """Number of images that the qualities were estimated on."""
        return self.model.estimates.images

    def deficits(self, candidates: list[Position] | None = None) -> np.ndarray:
        """Return draws [draws, candidates] of the deficits to the best of the candidates (None: of all cells)."""
        keep = [self.cells.index(cell) for cell in candidates] if candidates is not None else slice(None)
        among = self.qualities[:, keep]
        return np.asarray(among.max(axis=1, keepdims=True) - among)

    def future(self, more: int, times: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean [K] and covariance [K, K] of the log odds now, and the covariance with more data (about).

        more: further seeds of each cell; times: the images, over those at hand. Now is as the draws are; what more data
        take away is that of the likeliest standard deviations, in proportion.
        """
        estimates, mode = self.model.estimates, self.model.mode
        images, noise = np.exp(2 * mode[CELL + 1 :])[:, None, None] * self.model.parts[CELL + 1 :]
        if estimates.scatter is not None:
            of_training = min(1.0, estimates.scatter.training / float(estimates.scatter.variance.mean()))
            noise = noise * (of_training + (1 - of_training) / times)
            noise = noise * (estimates.seeds / (estimates.seeds + more))[:, None]
        drawn = special.logit(np.clip((self.qualities - estimates.lowest) / self.model.reach, LEAST, 1 - LEAST))
        now = np.atleast_2d(np.cov(drawn, rowvar=False))
        then = self.model.with_errors(mode, images / times + noise)[1]
        wider = np.sqrt(np.diagonal(now) / np.diagonal(self.model.given(mode)[1]))
        return drawn.mean(axis=0), now, then * np.outer(wider, wider)


def posterior(estimates: Estimates, draws: int = DRAWS) -> Posterior:
    """Return the posterior of a map's cells."""
    model = Linearised(estimates)
    qualities = estimates.lowest + model.reach * special.expit(_tailed(model, _mixture(model), draws))
    return Posterior(estimates.cells, qualities, model)


def _mixture(model: Linearised) -> np.ndarray:
    """Return points [CHAINS, P] of the logarithms of standard deviations, as likely as the map says."""
    spread = linalg.cholesky(linalg.inv(model.information(model.mode)), lower=True)
    uniform = stats.qmc.Sobol(len(model.mode) + 1, scramble=True, rng=0).random(POINTS)
    stretch = np.sqrt(PROPOSAL / stats.chi2.ppf(uniform[:, -1], PROPOSAL))
    standard = stats.norm.ppf(uniform[:, :-1]) * stretch[:, None]
    points = model.mode + standard @ spread.T
    proposed = -0.5 * (PROPOSAL + len(model.mode)) * np.log1p((standard**2).sum(axis=1) / PROPOSAL)
    weights = np.array([-model.deviance(point)[0] for point in points]) - proposed
    shares = np.cumsum(np.exp(weights - weights.max()))
    chains = int(np.clip(CHAINS * 50 / len(model.values), 8, CHAINS))
    return np.asarray(points[np.searchsorted(shares / shares[-1], (np.arange(chains) + 0.5) / chains)])


def _tailed(model: Linearised, points: np.ndarray, draws: int) -> np.ndarray:
    """Return draws [draws, K] of the log odds, the cells' own effects Student's t, by a Gibbs chain from each point.

    Effects are drawn given their variances by perturbing the observations (Matheron's rule), then the variances given
    the effects; what all cells' own effects have in common by Metropolis steps.
    """
    random = np.random.default_rng(0)
    chains, size = len(points), len(model.values)
    factors = np.exp(2 * points)
    shared = MEAN + np.einsum("ca,aij->cij", factors[:, :CELL], model.parts[:CELL])
    errors = np.einsum("ca,aij->cij", factors[:, CELL + 1 :], model.parts[CELL + 1 :])
    roots = [np.linalg.cholesky(part + TINY * np.eye(size)) for part in (shared, errors)]
    logs, tails = points[:, CELL].copy(), np.ones((chains, size))
    each = -(-draws // (chains * KEPT))
    found = []
    for sweep in range(BURNT + KEPT):
        own = np.exp(2 * logs)[:, None] / tails
        normal = random.standard_normal((3, chains, size, each if sweep >= BURNT else 1))
        common, cells = roots[0] @ normal[0], np.sqrt(own)[:, :, None] * normal[1]
        total = shared + errors
        total[:, np.arange(size), np.arange(size)] += own
        left = np.linalg.solve(total, model.values[:, None] - common - cells - roots[1] @ normal[2])
        cells += own[:, :, None] * left
        if sweep >= BURNT:
            found.append(np.moveaxis(common + shared @ left + cells, 1, 2).reshape(-1, size))
        squares = cells[:, :, 0] ** 2
        for _ in range(STEPS):
            proposed = logs + STEP * random.standard_normal(chains)
            gain = _density(model, proposed, squares, tails) - _density(model, logs, squares, tails)
            logs = np.where(np.log(random.random(chains)) < gain, proposed, logs)
        rate = (TAILS + squares * np.exp(-2 * logs)[:, None]) / 2
        tails = random.gamma((TAILS + 1) / 2, size=(chains, size)) / rate
    return np.concatenate(found)[:draws]


def _density(model: Linearised, logs: np.ndarray, squares: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Return the log density [chains] of the logarithms of the deviation of the cells' own effects, but a constant."""
    median, width = model.priors[CELL]
    standard = (logs - np.log(median)) / width
    spent = (tails * squares).sum(axis=1) * np.exp(-2 * logs)
    return np.asarray(-squares.shape[1] * logs - 0.5 * (spent + standard**2))
