"""Prospects of an undecided map: how many more seeds, or validation images, would make it decide.

The rule decides on the posterior, so the question is where the posterior will be with more data. Before those are seen
its mean is a draw: from the present mean, with the variance that the new data will take away (preposterior analysis,
Raiffa & Schlaifer 1961). The chance to decide is the share of such futures in which a cell passes.
"""

import bisect
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy import special

from resomap.statistics.posterior import Posterior
from resomap.statistics.repeated_looks import CONFIDENCE
from resomap.statistics.samples import Position

# Chance to decide that a figure is given for, as computed here. It is computed too high: the standard deviations of the
# effects will be found anew. At 0.92 maps decided in four of five cases (`python -m resomap.statistics surer`).
LIKELY = 0.92
RANGE = (0.6, 0.99)
SEEDS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 32)
TIMES = (1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 13.0, 16.0)
# Of each future so many draws: with few, a cell of many would pass by the luck of its draws.
FUTURES, DRAWS = 100, 2000
NEGLIGIBLE = 0.002  # probability to be within the margin, below which a cell neither passes nor keeps others from it
Kind: TypeAlias = Literal["seeds", "images"]


@dataclass(frozen=True)
class Prospect:
    """So many more of a kind decide with a chance of about 80 %; `low` may do, `high` nearly surely (None: unknown).

    seeds are those of each cell; images those of the validation split.
    """

    kind: Kind
    count: int
    low: int
    high: int | None


def prospects(
    posterior: Posterior, candidates: Sequence[Position], margin: float, confidence: float = CONFIDENCE
) -> tuple[Prospect, ...]:
    """Return what would make the map decide within the margin: more seeds, more validation images, both or nothing.

    Nothing is said of seeds where no cell was trained twice: how much they would tell is not known.
    """
    within = (posterior.deficits(list(candidates)) <= margin).mean(axis=0)
    likely = [cell for cell, share in zip(candidates, within, strict=True) if share > NEGLIGIBLE]
    keep = [posterior.cells.index(cell) for cell in likely]
    found = []
    if posterior.noise_is_known:
        chances = [functools.partial(_chance, posterior, keep, margin, confidence, more, 1.0) for more in SEEDS]
        found.append(_prospect("seeds", SEEDS, chances))
    chances = [functools.partial(_chance, posterior, keep, margin, confidence, 0, times) for times in TIMES]
    counts = [_two_digits((times - 1) * posterior.images) for times in TIMES]
    found.append(_prospect("images", counts, chances))
    return tuple(one for one in found if one is not None)


def _prospect(kind: Kind, counts: Sequence[int], chances: Sequence[Callable[[], float]]) -> Prospect | None:
    """Return the counts at which the chances, which rise, come to what is asked for; None where they never do."""
    known = functools.cache(lambda index: chances[index]())

    def first(wanted: float) -> int | None:
        index = bisect.bisect_left(range(len(counts)), wanted, key=known)
        return counts[index] if index < len(counts) else None

    likely, low = first(LIKELY), first(RANGE[0])
    return None if likely is None or low is None else Prospect(kind, likely, low, first(RANGE[1]))


def _chance(posterior: Posterior, keep: list[int], margin: float, confidence: float, more: int, times: float) -> float:
    """Return the chance that a cell passes with `more` seeds a cell and `times` the images."""
    mean, now, then = posterior.future(more, times)
    random = np.random.default_rng(0)
    learnt, vectors = np.linalg.eigh(now - then)
    futures = mean + random.standard_normal((FUTURES, len(mean))) @ (vectors * np.sqrt(np.maximum(learnt, 0))).T
    values, vectors = np.linalg.eigh(then)
    errors = (random.standard_normal((DRAWS, len(mean))) @ (vectors * np.sqrt(np.maximum(values, 0))).T)[:, keep]
    decided = 0
    for future in futures[:, keep]:
        qualities = posterior.model.reach * special.expit(future + errors)
        deficits = qualities.max(axis=1, keepdims=True) - qualities
        decided += bool(((deficits <= margin).mean(axis=0) >= confidence).any())
    return decided / FUTURES


def _two_digits(count: float) -> int:
    """Round up to two digits: more would pretend to know more."""
    unit = 10 ** max(0, int(np.floor(np.log10(max(count, 1)))) - 1)
    return int(np.ceil(count / unit) * unit)
