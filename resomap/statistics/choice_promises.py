"""Measurement of what choices promise: claims, recommendations, frames, fronts, and the value of the winner."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from resomap.statistics.best import Deficits
from resomap.statistics.claims import Claim, mean_of, share_of
from resomap.statistics.hierarchy import hierarchy
from resomap.statistics.interval_estimates import Estimates, estimate
from resomap.statistics.pareto import CellCost, pareto_front, possible_front
from resomap.statistics.promises import DRAWS, claims_of, decisions
from resomap.statistics.quality import Metric
from resomap.statistics.recommendation import recommend
from resomap.statistics.resolutions import compare_resolutions
from resomap.statistics.samples import Position, Sample
from resomap.statistics.simulation import World, grid
from resomap.statistics.test_resolution import best_test_resolutions

RESOLUTIONS = (64, 96, 128, 192, 256)
ALIKE = dict.fromkeys(RESOLUTIONS, 0.9)
RISING = dict(zip(RESOLUTIONS, (0.86, 0.89, 0.90, 0.905, 0.905), strict=True))
ERRORS = "at most 0.05"
MARGIN = 0.02


def false_claims(draws: int) -> Iterator[Claim]:
    """Yield the share of maps without any effect that claim one resolution to be better than another."""
    metrics: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1", "auroc")
    alike = World(grid(ALIKE, 2), 400, 3, 0.01)
    for seeds in (2, 3, 5):
        yield _false_claims(replace(alike, seeds=seeds), "balanced_accuracy", draws, ERRORS)
    for size in (5, 10, 20):
        yield _false_claims(replace(alike, group_size=size, alike=0.5), "balanced_accuracy", draws, ERRORS)
    for positives in (3, 10):
        for metric in metrics:
            yield _false_claims(replace(alike, positives=positives), metric, draws, ERRORS)
    for models, seeds, times in ((1, 2, 6), (1, 3, 6), (4, 2, 4), (4, 2, 6), (4, 3, 6)):
        cells = grid(ALIKE, models)
        unsteady = frozenset(cell for cell in cells if cell[1] == RESOLUTIONS[0])
        world = World(cells, 2000, seeds, 0.01, unsteady=unsteady, unsteadiness=times)
        yield _false_claims(world, "balanced_accuracy", draws, "shown")


def repeated_looks(draws: int) -> Iterator[Claim]:
    """Yield the shares of maps with a false claim, or a wrong recommendation, at any look from 2 to 10 seeds."""
    for world in (
        World(grid(ALIKE, 2), 2000, 10, 0.015),
        World(grid(ALIKE, 2), 400, 10, 0.005),
        World(grid(ALIKE, 2), 400, 10, 0.01, group_size=5, alike=0.4),
    ):
        random, claimed = np.random.default_rng(0), []
        for _ in range(draws):
            found = world.draw(random)[0]
            claimed.append(any(_claims(_with_seeds(found, seeds)) for seeds in range(2, 11)))
        yield share_of("a false claim at any look from 2 to 10 seeds", str(world), ERRORS, claimed)
    world = World(grid(RISING, 2), 2000, 10, 0.01)
    random, wrong = np.random.default_rng(0), []
    truth = {cell: world.truth("balanced_accuracy", cell) for cell in world.accuracies}
    for _ in range(draws):
        found = world.draw(random)[0]
        chosen = [
            recommend(_with_seeds(found, seeds), _costs(world), MARGIN, draws=1000).chosen for seeds in range(2, 11)
        ]
        wrong.append(any(one is not None and max(truth.values()) - truth[one] > MARGIN for one in chosen))
    yield share_of("a recommendation beyond the margin at any look from 2 to 10 seeds", str(world), ERRORS, wrong)


def right_choices(draws: int) -> Iterator[Claim]:
    """Yield wrong recommendations, bounds that hold, and fronts that hold the true one."""
    for seeds in (1, 3):
        world = World(grid(RISING, 2), 2000, seeds, 0.005)
        held, front, wrong = [], [], []
        for estimates, true in decisions(world, "balanced_accuracy", draws):
            comparison = Deficits(estimates, DRAWS)
            table, best = comparison.table(), max(true.values())
            held.append(all(best - true[cell] <= one.upper for cell, one in table.items()))
            possible = possible_front(comparison, _costs(world), "latency_ms")
            front.append(set(pareto_front(true, _costs(world), "latency_ms")) <= set(possible))
            chosen = recommend(estimates, _costs(world), MARGIN, draws=DRAWS).chosen
            wrong.append(chosen is not None and best - true[chosen] > MARGIN)
        yield share_of("all bounds on deficits hold", str(world), "at least 0.95", held)
        yield share_of("the true Pareto front is among the possible one", str(world), "at least 0.95", front)
        yield share_of("the recommended cell is beyond the margin", str(world), ERRORS, wrong)


def frames_off_the_diagonal(draws: int) -> Iterator[Claim]:
    """Yield the share of maps with a frame off the diagonal where all test resolutions are equally good."""
    for seeds in (1, 3):
        random, off = np.random.default_rng(0), []
        cells = {(f"at{size}", tested): 0.9 for size in RESOLUTIONS for tested in RESOLUTIONS}
        world = World(cells, 400, seeds)
        for _ in range(draws):
            drawn = world.draw(random)[0]
            rows = {("model", size): {one: drawn[f"at{size}", one] for one in RESOLUTIONS} for size in RESOLUTIONS}
            best = best_test_resolutions(rows, "balanced_accuracy", DRAWS)
            off.append(any(found != square[1] for square, found in best.items()))
        yield share_of("a frame off the diagonal, all test resolutions alike", f"5 rows, {world}", ERRORS, off)


def value_of_the_winner(draws: int) -> Iterator[Claim]:
    """Yield by how much the highest of forty values is too high, as it stands and without its luck, in points."""
    anyhow = np.random.default_rng(0).normal(0.9, 0.02, 40).clip(0.8, 0.97)
    cells = grid(ALIKE, 8)
    for name, accuracies in (
        ("all alike", cells),
        ("rising", grid(RISING, 8)),
        ("each its own", dict(zip(cells, map(float, anyhow), strict=True))),
    ):
        for seeds in (1, 3):
            world = World(accuracies, 394, seeds, 0.01)
            raw, corrected = [], []
            for estimates, true in decisions(world, "balanced_accuracy", draws):
                highest = int(np.argmax(estimates.values))
                cell = estimates.cells[highest]
                raw.append(100 * float(estimates.values[highest] - true[cell]))
                corrected.append(100 * float(hierarchy(estimates).means[highest] - true[cell]))
            yield mean_of("points by which the highest value is too high", f"{name}, {world}", "shown", raw)
            yield mean_of("the same without its luck", f"{name}, {world}", "-0.3 to 0.3", corrected)


def _false_claims(world: World, metric: Metric, draws: int, wanted: str) -> Claim:
    found = [claimed for _, claimed in claims_of(world, metric, draws)]
    return share_of(f"a false claim in a map without effect, {metric}", str(world), wanted, found)


def _claims(estimates: Estimates) -> bool:
    return any(model.claims for model in compare_resolutions(estimates, 1000).values())


def _with_seeds(found: dict[Position, list[Sample]], seeds: int) -> Estimates:
    return estimate({cell: one[:seeds] for cell, one in found.items()}, "balanced_accuracy")


def _costs(world: World) -> dict[Position, CellCost]:
    return {cell: CellCost("simulated", {"latency_ms": float(cell[1])}) for cell in world.accuracies}
