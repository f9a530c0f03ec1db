"""Measurement of what answers promise: probabilities that are met, few wrong decisions, and many decisions.

Rows are of families of maps (`resomap.statistics.families`), each with a truth of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from resomap.statistics.answer import Answer, decide
from resomap.statistics.claims import Claim, mean_of, share_of
from resomap.statistics.families import FAMILIES, IMAGES, draw_world
from resomap.statistics.interval_estimates import Estimates, estimate
from resomap.statistics.pareto import CellCost
from resomap.statistics.posterior import Posterior, posterior
from resomap.statistics.promises import DRAWS
from resomap.statistics.prospects import prospects
from resomap.statistics.recommendation import recommend
from resomap.statistics.repeated_looks import CONFIDENCE
from resomap.statistics.samples import Position, Sample

MARGINS = (0.01, 0.02)
SEEDS = (1, 3, 5)
BINS = (0.0, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.01)
WRONG = "at most 0.05"
SURER = ("rising", "peaked", "heavy tails", "grouped images")
MOST_SEEDS, MOST_IMAGES = 7, 2400  # that are drawn to see whether more decide


@dataclass(frozen=True)
class Judged:
    """One map judged by its truth: the answer, whether its cell is within the margin, and each rule's true deficit."""

    family: str
    answer: Answer
    is_within: bool
    deficit: float
    proven_deficit: float | None  # of the cell that is proven to do; None where none is
    highest_deficit: float  # of the cell with the highest estimate
    is_broken: bool
    margin: float


def judged(family: str, seeds: int, maps: int, start: int = 0) -> Iterator[Judged]:
    """Yield maps of a family, each at each margin. Dear are high resolutions, and models of high number."""
    number = list(FAMILIES).index(family)
    for draw in range(start, start + maps):
        random = np.random.default_rng([number, seeds, draw])
        world = draw_world(family, seeds, random)
        estimates = estimate(world.draw(random)[0], "balanced_accuracy")
        found = posterior(estimates)
        best = max(world.accuracies.values())
        costs = {cell: _cost(cell) for cell in world.accuracies}
        highest = estimates.cells[int(np.argmax(estimates.values))]
        for margin in MARGINS:
            proven = recommend(estimates, costs, margin, draws=DRAWS)
            answer = decide(found, proven)
            if answer is None:  # every map has candidates; nothing is to be counted as an answer that is none
                raise AssertionError("a map without an answer")
            deficit = best - world.accuracies[answer.choice.cell]
            of_proven = best - world.accuracies[proven.chosen] if proven.chosen else None
            of_highest = best - world.accuracies[highest]
            is_within = deficit <= margin
            yield Judged(family, answer, is_within, deficit, of_proven, of_highest, found.breaking is not None, margin)


def answers(draws: int) -> Iterator[Claim]:
    """Yield how often answers decide and err, by family, and how often stated probabilities are met, all together."""
    for seeds in SEEDS:
        found = [one for family in FAMILIES for one in judged(family, seeds, draws)]
        for margin in MARGINS:
            of_margin = [one for one in found if one.margin == margin]
            for family in FAMILIES:
                condition = f"{family}, seeds {seeds}, margin {margin:g}"
                yield from _of_family(condition, [one for one in of_margin if one.family == family])
            yield from _pooled(f"seeds {seeds}, margin {margin:g}", of_margin)
        for family in FAMILIES:
            wanted = "at least 0.5" if "breaks" in family else "at most 0.1"
            fired = [one.is_broken for one in found if one.family == family]
            yield share_of("the check of the pattern fires", f"{family}, seeds {seeds}", wanted, fired)


def surer(draws: int) -> Iterator[Claim]:
    """Yield how often as many more seeds, or images, as are named do decide, of maps with three seeds that do not."""
    decided: dict[str, list[bool]] = {"seeds": [], "images": []}
    for draw in range(draws):
        family = SURER[draw % len(SURER)]
        random = np.random.default_rng([list(FAMILIES).index(family), 77, draw])
        world = replace(draw_world(family, MOST_SEEDS, random), images=MOST_IMAGES)
        samples = world.draw(random)[0]
        known = posterior(_part(samples, 3, IMAGES))
        if _passes(known):
            continue
        for one in prospects(known, known.cells, MARGINS[0]):
            seeds, images = (3 + one.count, IMAGES) if one.kind == "seeds" else (3, IMAGES + one.count)
            if seeds <= MOST_SEEDS and images <= MOST_IMAGES:
                decided[one.kind].append(_passes(posterior(_part(samples, seeds, images))))
    for kind, found in decided.items():
        if found:
            condition = f"{', '.join(SURER)}; 3 seeds, margin {MARGINS[0]:g} ({len(found)} maps)"
            yield share_of(f"the {kind} that are named decide", condition, "0.75 to 0.9", found)


def _part(samples: dict[Position, list[Sample]], seeds: int, images: int) -> Estimates:
    return estimate(
        {
            cell: [
                Sample(
                    one.labels[:images],
                    one.log_probabilities[:images],
                    None if one.groups is None else one.groups[:images],
                )
                for one in trainings[:seeds]
            ]
            for cell, trainings in samples.items()
        },
        "balanced_accuracy",
    )


def _passes(known: Posterior) -> bool:
    return bool(((known.deficits() <= MARGINS[0]).mean(axis=0) >= CONFIDENCE).any())


def _of_family(condition: str, found: list[Judged]) -> Iterator[Claim]:
    passed = [one.answer.rule == "probable" for one in found]
    yield share_of("the posterior decides", condition, "shown", passed)
    yield share_of("the proof decides", condition, "shown", [one.proven_deficit is not None for one in found])
    wrong = [one.answer.rule == "probable" and not one.is_within for one in found]
    yield share_of("the posterior decides wrongly", condition, WRONG, wrong)
    beyond = [one.proven_deficit is not None and one.proven_deficit > one.margin for one in found]
    yield share_of("the proof decides wrongly", condition, WRONG, beyond)
    overstated = [_stated(one) - one.is_within for one in found]
    yield mean_of("stated probability less frequency", condition, "at most 0.05", overstated)
    yield mean_of("expected deficit, points", condition, "shown", [_points(one) for one in found])
    yield mean_of("true deficit of the answer, points", condition, "shown", [100 * one.deficit for one in found])
    yield mean_of(
        "true deficit of the highest estimate, points", condition, "shown", [100 * one.highest_deficit for one in found]
    )


def _pooled(condition: str, found: list[Judged]) -> Iterator[Claim]:
    stated = np.array([_stated(one) for one in found])
    held = np.array([one.is_within for one in found])
    for low, high in pairwise(BINS):
        inside = (stated >= low) & (stated < high)
        if inside.any():
            text = f"all families, {condition}, stated {low:g} to {min(high, 1):g} ({inside.sum()} maps)"
            yield mean_of("stated probability less frequency", text, "-0.03 to 0.03", stated[inside] - held[inside])
    yield mean_of("stated probability less frequency", f"all families, {condition}", "-0.03 to 0.03", stated - held)
    decided = np.array([one.answer.rule == "probable" for one in found])
    if decided.any():
        yield share_of("of the decisions wrong", f"all families, {condition}", WRONG, ~held[decided])


def _stated(one: Judged) -> float:
    return one.answer.choice.probability_within_margin


def _points(one: Judged) -> float:
    return 100 * one.answer.choice.expected_deficit


def _cost(cell: Position) -> CellCost:
    return CellCost("simulated", {"latency_ms": cell[1] ** 2 * (1 + int(cell[0].removeprefix("model")) / 10)})
