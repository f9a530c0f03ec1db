"""Measurement of what folds promise, and of seeds at equal cost, by small trainings on data sets drawn anew.

Truth is what a cell reaches on average over data sets of the size that it trains on: (K - 1)/K of the images with
folds, the training share with one split.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TypeVar

import numpy as np

from resomap.statistics.claims import Claim, mean_of, share_of
from resomap.statistics.fold_worlds import FURTHER, Study, by_folds, by_seeds
from resomap.statistics.interval_estimates import Estimates, estimate, intervals
from resomap.statistics.posterior import posterior
from resomap.statistics.samples import Position

IMAGES = (150, 400)  # outside the test split
COUNTS = (3, 5)
MARGIN = 0.02
CONFIDENCE = 0.95
_LEVELS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
Name = TypeVar("Name")
Drawn = Callable[[int, int, int], Study]


@dataclass
class Found:
    """Limits that the statistics gave for one kind of study, over all data sets drawn, and what was true."""

    limits: dict[Position, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    credible: dict[Position, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    alone: list[tuple[float, float]] = field(default_factory=list)  # interval of the first cell without others
    differences: dict[tuple[Position, Position], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    within: list[dict[Position, float]] = field(default_factory=list)  # stated probabilities
    reached: dict[Position, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, study: Study) -> None:
        """Take in one data set."""
        found = estimate(study.samples, "accuracy")
        for cell, interval in intervals(found).items():
            self.limits[cell].append((interval.low, interval.high))
        first = next(iter(study.samples))
        interval = intervals(estimate({first: study.samples[first]}, "accuracy"))[first]
        self.alone.append((interval.low, interval.high))
        self._add_posterior(found)
        for cell, values in study.reached.items():
            self.reached[cell] += values

    def _add_posterior(self, found: Estimates) -> None:
        drawn = posterior(found, 1000)
        for place, cell in enumerate(drawn.cells):
            low, high = np.quantile(drawn.qualities[:, place], _LEVELS)
            self.credible[cell].append((float(low), float(high)))
            for other, name in enumerate(drawn.cells[:place]):
                low, high = np.quantile(drawn.qualities[:, place] - drawn.qualities[:, other], _LEVELS)
                self.differences[cell, name].append((float(low), float(high)))
        within = (drawn.deficits() <= MARGIN).mean(axis=0)
        self.within.append(dict(zip(drawn.cells, within.tolist(), strict=True)))

    def truth(self) -> dict[Position, float]:
        """Return what each cell reaches on average."""
        return {cell: float(np.mean(values)) for cell, values in self.reached.items()}


def of_folds(draws: int) -> Iterator[Claim]:
    """Yield coverage and width of intervals and posterior, by folds and by as many seeds on one split."""
    for images in IMAGES:
        for count in COUNTS:
            for kind, drawn in (("folds", by_folds), ("seeds", by_seeds)):
                yield from _claims(f"{count} {kind}, {images} images", _measured(drawn, images, count, draws))
    for (name, world), images, count in product(FURTHER.items(), IMAGES, COUNTS):
        found = _measured(partial(by_folds, world=world), images, count, draws)
        yield from _claims(f"{name}, {count} folds, {images} images", found)


def _measured(drawn: Drawn, images: int, count: int, draws: int) -> Found:
    found = Found()
    for draw in range(draws):
        found.add(drawn(images, count, draw))
    return found


def _claims(condition: str, found: Found) -> Iterator[Claim]:
    truth = found.truth()
    first = next(iter(found.limits))
    yield from _covered("interval", condition, found.limits, truth)
    yield share_of("interval of a map with one cell covers", condition, "0.93", _inside(found.alone, truth[first]))
    yield from _covered("posterior's 95 %", condition, found.credible, truth)
    apart = {pair: truth[pair[0]] - truth[pair[1]] for pair in found.differences}
    yield from _covered("posterior's 95 % of a difference", condition, found.differences, apart)
    widths = [high - low for limits in found.limits.values() for low, high in limits]
    yield mean_of("width of the interval", condition, "shown", widths)
    widths = [high - low for limits in found.differences.values() for low, high in limits]
    yield mean_of("width of the posterior's 95 % of a difference", condition, "shown", widths)
    best = max(truth.values())
    decided = [{cell for cell, stated in one.items() if stated >= CONFIDENCE} for one in found.within]
    yield share_of(f"some cell is probably within {MARGIN:g}", condition, "shown", [bool(one) for one in decided])
    wrong = [any(best - truth[cell] > MARGIN for cell in one) for one in decided]
    yield share_of(f"some cell is called so, and is not within {MARGIN:g}", condition, "at most 0.05", wrong)


def _covered(
    what: str, condition: str, limits: Mapping[Name, list[tuple[float, float]]], truth: Mapping[Name, float]
) -> Iterator[Claim]:
    held = {name: _inside(found, truth[name]) for name, found in limits.items()}
    yield share_of(f"{what} covers, all cells", condition, "0.93", [one for found in held.values() for one in found])
    worst = min(held.values(), key=lambda found: sum(found))
    yield share_of(f"{what} covers, worst cell", condition, "shown", worst)


def _inside(limits: list[tuple[float, float]], value: float) -> list[bool]:
    return [low <= value <= high for low, high in limits]
