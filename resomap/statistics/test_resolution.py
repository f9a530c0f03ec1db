"""Best resolution to test each square's trained weights at: its own, unless another is shown to be better.

The highest of five estimates is the luckiest of them: where all test resolutions are equally good, it lies off the
training resolution in four of five rows. So another one is named only where its paired difference to the own, of the
same weights on the same images, has a simultaneous 95 % interval above zero, over all rows of the map together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from resomap.statistics.comparisons import compare
from resomap.statistics.groups import Groups
from resomap.statistics.interval_estimates import DRAWS, Estimates, combine
from resomap.statistics.quality import Quality, Question, quality
from resomap.statistics.samples import Position, Sample

NOTHING: Position = ("", 0)  # what a difference is compared with


def best_test_resolutions(
    rows: Mapping[Position, Mapping[int, list[Sample]]], metric: Question, draws: int = DRAWS
) -> dict[Position, int]:
    """Return the best test resolution (pixels) of each square.

    rows: of each square the predictions of its trainings by test resolution, in one order of the trainings. A row
    without its own resolution, or whose metric is undefined there, is left out.
    """
    differences: dict[Position, list[Quality]] = {}
    of_row: dict[Position, tuple[Position, int]] = {}
    sample: Sample | None = None
    found: dict[Position, int] = {}
    for square, tested in rows.items():
        own = [quality(metric, one) for one in tested.get(square[1], [])]
        if not own or any(one is None for one in own):
            continue
        found[square] = square[1]
        sample = tested[square[1]][0]
        for resolution, samples in tested.items():
            pairs = list(_differences(samples, own, metric)) if resolution != square[1] else []
            if pairs:
                name = (f"{square[0]}@{square[1]}", resolution)
                differences[name], of_row[name] = pairs, (square, resolution)
    if not differences or sample is None:
        return found
    estimates = _beside_nothing(differences, metric, sample)
    best: dict[Position, float] = {}
    for one in compare(estimates, [(name, NOTHING) for name in differences], draws):
        square, resolution = of_row[one.first]
        if one.low > 0 and one.difference > best.get(square, 0.0):
            best[square], found[square] = one.difference, resolution
    return found


def _differences(samples: list[Sample], own: list[Quality | None], metric: Question) -> Iterator[Quality]:
    """Yield the difference of each training's quality at another resolution to that at its own."""
    for sample, base in zip(samples, own, strict=True):
        other = quality(metric, sample)
        if other is None or base is None:
            return
        yield Quality(other.value - base.value, other.influence - base.influence, base.effective_images, base.grain)


def _beside_nothing(differences: Mapping[Position, list[Quality]], metric: Question, sample: Sample) -> Estimates:
    """Return estimates of the differences, and of nothing, which is known without error."""
    groups = Groups.of(sample.groups, len(sample.labels))
    # A difference of two resolutions scatters alike whatever its size.
    estimates = combine(metric, differences, (), sample.labels, groups, np.ones(len(differences)))
    scatter = estimates.scatter
    return replace(
        estimates,
        cells=(*estimates.cells, NOTHING),
        seeds=np.append(estimates.seeds, 1),
        values=np.append(estimates.values, 0.0),
        image_covariance=np.pad(estimates.image_covariance, (0, 1)),
        common=np.append(estimates.common, 0.0),
        between=np.append(estimates.between, 0.0),
        scatter=scatter and scatter.only(np.append(np.arange(len(estimates.cells)), 0)),
        parts=(*estimates.parts, None),
    )
