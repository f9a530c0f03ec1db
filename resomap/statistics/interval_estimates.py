"""Estimates of each cell's quality with their uncertainty: of images, and of trainings where there are several seeds.

The model is that of multi-reader studies (Obuchowski & Rockette 1995; Hillis 2007, Statistics in Medicine 26:596),
trainings in the place of readers: the value of a cell's seed is the cell's quality + an effect of the training + an
effect of the images, which all trainings share. The variance of a cell's mean over S seeds is then
(covariance of two seeds under a change of images) + (variance between seeds) / S.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from resomap.compute.thresholds import OneVsRest
from resomap.core.errors import ResomapError
from resomap.statistics.class_parts import Parts, limits, mean_parts
from resomap.statistics.fold_noise import fold_noise
from resomap.statistics.groups import Groups
from resomap.statistics.quality import Quality, Question, quality
from resomap.statistics.repeated_looks import CONFIDENCE, error_rate
from resomap.statistics.samples import Position, Trainings, require_shared_images
from resomap.statistics.scatter import Scatter, pool
from resomap.statistics.shares import wilson

# Images on which a pair is taken to disagree beside those on which it does, after Agresti & Min 2005 for paired
# proportions: two cells that agree on all of ten images do not differ by 0 with certainty. Four give the one-sided
# bound of 3.3 images where none was seen, of which the exact one is 3 (the rule of three).
PSEUDO_IMAGES = 4.0
# Below it Satterthwaite's approximation covers 90 to 92 % in place of 95 % where training noise is large.
FREEDOM_FOR_SATTERTHWAITE = 5
DRAWS = 10_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Estimates:
    """Estimates of the cells [K] with a defined metric, in the caller's order; variances are of means over the seeds.

    labels int [N] and `groups` are those of the images. values [K]; seeds int [K]; image_covariance [K, K] of the means
    under a change of images; `common` [K]: the covariance of two seeds of the cell; `between` [K]: variance between
    seeds / seeds. With one seed a cell everywhere `scatter` is None, `common` is all of the variance, and nothing here
    speaks of training again. `effective_images` and `grain` are those of `Quality`, the grain of a group where there
    are groups. freedom: degrees of freedom of the variances of images, infinite where these are known well enough.
    With folds `common` is all of the images' part, and `between` what trainings add (`resomap.statistics.fold_noise`).
    parts: of each cell's mean, None for a metric without them. `metric` is a name for sentences, `_` for its spaces.
    """

    metric: str
    cells: tuple[Position, ...]
    undefined: tuple[Position, ...]
    labels: np.ndarray
    groups: Groups
    effective_images: float
    grain: float
    freedom: float
    seeds: np.ndarray
    values: np.ndarray
    deviations: np.ndarray  # sample standard deviation over seeds, NaN with one seed
    image_covariance: np.ndarray
    common: np.ndarray
    between: np.ndarray
    scatter: Scatter | None
    parts: tuple[Parts | None, ...]
    lowest: float = 0.0  # of the metric
    folds: int | None = None  # that judged the images, each a part of them; None: each training judged all

    @property
    def images(self) -> int:
        """Number of images N."""
        return len(self.labels)

    @property
    def includes_training_noise(self) -> bool:
        """True if training noise is in the variances.

        False: the figures speak of these trained models only, not of training at their resolution again.
        """
        return self.scatter is not None

    @property
    def error_rate(self) -> float:
        """Chance of error of all claims of this map together; see `resomap.statistics.repeated_looks`."""
        return error_rate(int(self.seeds.max()))

    def index(self, cell: Position) -> int:
        """Return the place of a cell in the arrays."""
        return self.cells.index(cell)

    def only(self, cells: list[Position]) -> "Estimates":
        """Return the same estimates of fewer cells; the training variance stays what all of them said together."""
        keep = np.array([self.index(cell) for cell in cells], dtype=int)
        scatter = self.scatter
        if scatter is not None:
            scatter = scatter.only(keep)
        return replace(
            self,
            cells=tuple(cells),
            seeds=self.seeds[keep],
            values=self.values[keep],
            deviations=self.deviations[keep],
            image_covariance=self.image_covariance[np.ix_(keep, keep)],
            common=self.common[keep],
            between=self.between[keep],
            scatter=scatter,
            parts=tuple(self.parts[index] for index in keep),
        )

    @property
    def variances(self) -> np.ndarray:
        """Variance [K] of each cell's mean; never less than its images alone give."""
        return np.maximum(self.common + self.between, np.diagonal(self.image_covariance))


@dataclass(frozen=True)
class Interval:
    """95 % confidence interval of a cell's quality (mean over seeds, 0..1), with its seeds' spread (None with one)."""

    value: float
    low: float
    high: float
    deviation: float | None
    seeds: int
    includes_training_noise: bool
    images: int
    groups: int | None  # None: each image stands for itself


def estimate(cells: Mapping[Position, Trainings], metric: Question) -> Estimates:
    """Estimate values, variances and covariances of all cells.

    A cell with a training whose metric is undefined is left out and named in `undefined`.
    Raises ResomapError where predictions are not of the same images, or where no cell is left.
    """
    labels = require_shared_images(cells)
    groups = Groups.of(next(iter(cells.values()))[0].groups, len(labels))
    found: dict[Position, list[Quality]] = {}
    undefined = []
    for position, trainings in cells.items():
        qualities = [quality(metric, sample) for sample in trainings]
        defined = [one for one in qualities if one is not None]
        if len(defined) == len(qualities):
            found[position] = defined
        else:
            undefined.append(position)
    if not found:
        raise ResomapError(
            f"{metric} is undefined for every cell (a class without images, or predictions that are not finite); "
            "choose another report.metric"
        )
    return combine(metric, found, tuple(undefined), labels, groups, folds=next(iter(cells.values()))[0].folds)


def combine(
    metric: Question,
    found: Mapping[Position, list[Quality]],
    undefined: tuple[Position, ...],
    labels: np.ndarray,
    groups: Groups,
    scale: np.ndarray | None = None,
    folds: np.ndarray | None = None,
) -> Estimates:
    """Combine the qualities of each cell's trainings on images with these labels int [N] and groups.

    scale [K], on average 1: how training variance is shared out over the cells; None: as for a share. folds int [N]:
    the training that judged each image, where each judged a part; None: each judged all.
    """
    cells = list(found.values())
    images = len(labels)
    seeds = np.array([len(trainings) for trainings in cells])
    effective, grain = cells[0][0].effective_images, cells[0][0].grain * groups.design_effect()
    summed = [groups.sums(np.stack([one.influence for one in trainings])) / images for trainings in cells]
    influence = np.stack([one.mean(axis=0) for one in summed])
    covariance = influence @ influence.T
    of_mean = np.diagonal(covariance)
    of_one = np.array([np.mean((one**2).sum(axis=1)) for one in summed])
    several = seeds > 1
    common = of_one.copy()
    common[several] = np.maximum(0, (seeds * of_mean - of_one)[several] / (seeds - 1)[several])
    own = of_one - common
    if several.any():  # a cell with one seed cannot tell its part: that of the others stands in
        share = own[several].sum() / max(of_one[several].sum(), 1e-300)
        own[~several] = share * of_one[~several]
        common[~several] -= own[~several]
    values = np.array([np.mean([one.value for one in trainings]) for trainings in cells])
    spread = [np.var([one.value for one in trainings], ddof=1) if len(trainings) > 1 else np.nan for trainings in cells]
    observed = np.array(spread)
    lowest = cells[0][0].lowest
    scale = _scale((values - lowest) / (1 - lowest), effective) if scale is None else scale
    if folds is None:
        scatter = pool(np.nan_to_num(observed), seeds - 1, np.maximum(own, grain), scale, list(found))
        between = np.zeros(len(cells)) if scatter is None else scatter.variance / seeds
    else:
        each = np.stack([np.mean([one.influence for one in trainings], axis=0) for trainings in cells])
        scatter, common = fold_noise(each, folds, groups, of_mean, scale), of_mean.copy()
        between = np.zeros(len(cells)) if scatter is None else scatter.variance
    return Estimates(
        metric=str(metric),
        lowest=lowest,
        cells=tuple(found),
        undefined=undefined,
        labels=labels,
        groups=groups,
        effective_images=effective,
        grain=grain,
        freedom=_freedom(metric, labels, groups),
        seeds=seeds,
        values=values,
        deviations=np.sqrt(observed),
        image_covariance=covariance,
        common=common,
        between=between,
        scatter=scatter,
        parts=tuple(_mean_parts(trainings) for trainings in cells),
        folds=None if folds is None else len(np.unique(folds)),
    )


def _mean_parts(trainings: list[Quality]) -> Parts | None:
    parts = [one.parts for one in trainings if one.parts is not None]
    return mean_parts(parts) if len(parts) == len(trainings) else None


def _freedom(metric: Question, labels: np.ndarray, groups: Groups) -> float:
    """Return the degrees of freedom of the variances of images: those of the groups, or of the rarest classes."""
    if isinstance(metric, OneVsRest):
        return groups.freedom(labels == metric.positive)
    if metric not in ("accuracy", "quadratic_kappa"):
        return groups.freedom(labels)
    # Of one share of independent images the variance follows from the share.
    return np.inf if groups.are_images else max(1.0, groups.effective(np.ones(len(labels), dtype=bool)) - 1)


def _scale(values: np.ndarray, effective: float) -> np.ndarray:
    """Return the relative training variance of each cell [cells], on average 1: as value (1 - value), like any share's.

    Near 1 no training can be far off, while near chance they differ widely: on one scale for all, a few cells that do
    not learn would make those that do look uncertain. One image's worth is the least.
    """
    share = values * (1 - values) + 1 / effective
    return np.asarray(share / share.mean())


def intervals(estimates: Estimates) -> dict[Position, Interval]:
    """Return the 95 % confidence interval of each cell, for each alone (not simultaneous).

    A mean over classes has an interval of its parts (`resomap.statistics.class_parts`), a share of all images Wilson's
    score interval (1927) with as many images as would give the variance found (Korn & Graubard 1998; Dean & Pagano
    2015), which for accuracy and one seed is Wilson's own; near 1 both cover where the bootstrap's percentiles do not.
    With several seeds both sides are stretched from the normal quantile to Student's.
    """
    found = {}
    for index, cell in enumerate(estimates.cells):
        parts = estimates.parts[index]
        below, above = _of_share(estimates, index) if parts is None else _of_parts(estimates, index, parts)
        value, deviation = float(estimates.values[index]), float(estimates.deviations[index])
        found[cell] = Interval(
            value,
            max(estimates.lowest, value - below),
            min(1.0, value + above),
            None if np.isnan(deviation) else deviation,
            int(estimates.seeds[index]),
            estimates.includes_training_noise,
            estimates.images,
            None if estimates.groups.are_images else estimates.groups.count,
        )
    return found


def _of_share(estimates: Estimates, index: int) -> tuple[float, float]:
    """Return the distances of the limits of a share of all images, or of what is one once it is scaled to 0..1."""
    reach = 1 - estimates.lowest
    value = (float(estimates.values[index]) - estimates.lowest) / reach
    variance = float(estimates.variances[index]) / reach**2
    # One image's worth is added above, one group's below: it decides where the variance found is nil.
    of_image = estimates.grain / estimates.groups.design_effect()
    count = (value * (1 - value) + of_image * estimates.effective_images) / (variance + estimates.grain)
    level = (1 + CONFIDENCE) / 2
    normal = float(stats.norm.ppf(level))
    of_images = normal if np.isinf(estimates.freedom) else float(stats.t.ppf(level, estimates.freedom))
    low, high = wilson(value, count, of_images)
    stretch = _quantile(estimates, index, normal) / normal * reach
    return float(value - low) * stretch, float(high - value) * stretch


def _of_parts(estimates: Estimates, index: int, parts: Parts) -> tuple[float, float]:
    """Return the distances of the limits of a mean over classes: of the images, and of training noise beside them."""
    of_images = limits(parts, estimates.labels, estimates.groups, CONFIDENCE)
    if estimates.scatter is None:
        return of_images
    normal = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    noise = float(estimates.variances[index] - estimates.image_covariance[index, index])
    stretch = _quantile(estimates, index, normal) / normal
    return tuple(stretch * float(np.hypot(one, normal * np.sqrt(noise))) for one in of_images)  # type: ignore[return-value]


def _quantile(estimates: Estimates, index: int, normal: float) -> float:
    """Return the normal quantile, or Student's where few seeds estimate the part of the variance between seeds."""
    if estimates.scatter is None:
        return normal
    common, between = estimates.common[index], estimates.between[index]
    freedom = float(estimates.scatter.freedom[index])
    total = common + between
    level = (1 + CONFIDENCE) / 2
    if freedom >= FREEDOM_FOR_SATTERTHWAITE:
        return float(stats.t.ppf(level, freedom * (total / between) ** 2))
    # Fewer would, by chance too small a variance, hide how little they know: each part gets its own quantile.
    student = float(stats.t.ppf(level, freedom))
    return float(np.sqrt((normal**2 * common + student**2 * between) / total))
