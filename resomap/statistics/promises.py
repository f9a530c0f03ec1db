"""Measurement, on simulated maps, of what the statistics promise. Each function returns a share of maps or cells."""

from collections.abc import Iterator

import numpy as np

from resomap.statistics.best import Deficits
from resomap.statistics.interval_estimates import Estimates, estimate, intervals
from resomap.statistics.pareto import CellCost
from resomap.statistics.quality import Metric
from resomap.statistics.recommendation import recommend
from resomap.statistics.resolutions import compare_resolutions
from resomap.statistics.samples import Position
from resomap.statistics.simulation import World

DRAWS = 2000


def interval_coverage(world: World, metric: Metric, maps: int, seed: int = 0) -> float:
    """Return the share of cells whose 95 % interval holds the truth.

    The truth is the trained model's with one seed, else the cell's.
    """
    return float(np.mean(held_intervals(world, metric, maps, seed)))


def held_intervals(world: World, metric: Metric, maps: int, seed: int = 0) -> list[bool]:
    """Return, for each cell of each map, whether its 95 % interval holds the truth."""
    return [
        interval.low <= true[cell] <= interval.high
        for estimates, true in decisions(world, metric, maps, seed)
        for cell, interval in intervals(estimates).items()
    ]


def maps_with_claims(world: World, metric: Metric, maps: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of maps with two resolutions of one model told apart, and with a claim that one is better."""
    found = np.array(claims_of(world, metric, maps, seed))
    return float(found[:, 0].mean()), float(found[:, 1].mean())


def claims_of(world: World, metric: Metric, maps: int, seed: int = 0) -> list[tuple[bool, bool]]:
    """Return, for each map, whether two resolutions of a model are told apart, and whether one is claimed better."""
    found = []
    for estimates, _ in decisions(world, metric, maps, seed):
        models = compare_resolutions(estimates, DRAWS).values()
        apart = any(pair.is_distinguishable for model in models for pair in model.comparisons)
        found.append((apart, any(model.claims for model in models)))
    return found


def decisions(
    world: World, metric: Metric, maps: int, seed: int = 0
) -> Iterator[tuple[Estimates, dict[Position, float]]]:
    """Yield the estimates of each map, and the truth of its cells: of the trained models themselves with one seed."""
    random = np.random.default_rng(seed)
    truth = {cell: world.truth(metric, cell) for cell in world.accuracies}
    for _ in range(maps):
        samples, trained = world.draw(random)
        several = world.seeds > 1
        yield (
            estimate(samples, metric),
            truth if several else {cell: world.of_training(metric, one[0]) for cell, one in trained.items()},
        )


def thresholds_found(world: World, metric: Metric, threshold: int, maps: int, seed: int = 0) -> float:
    """Return the share of models whose threshold is found.

    Found: the lowest resolution as good as the best is `threshold` (pixels), claimed to be better than all below it.
    """
    random = np.random.default_rng(seed)
    found = []
    for _ in range(maps):
        for model in compare_resolutions(estimate(world.draw(random)[0], metric), DRAWS).values():
            below = {cell[1] for cell in world.accuracies if cell[0] == model.model and cell[1] < threshold}
            beaten = {worse for better, worse in model.claims if better == model.best}
            found.append(model.alike[0] == threshold and below <= beaten)
    return float(np.mean(found))


def bounds_held(world: World, metric: Metric, maps: int, seed: int = 0) -> float:
    """Return the share of maps in which all bounds on deficits hold and the true best is among those that may be it."""
    held = 0
    for estimates, true in decisions(world, metric, maps, seed):
        best = max(true.values())
        table = Deficits(estimates, DRAWS).table()
        bounded = all(best - true[cell] <= deficit.upper for cell, deficit in table.items())
        held += bounded and any(table[cell].may_be_best for cell in table if true[cell] == best)
    return held / maps


def recommendations(world: World, metric: Metric, margin: float, maps: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of maps with a recommendation, and with one whose true deficit is above the margin.

    Cost grows with the resolution. The truth is that of the cells, or with one seed that of the trained models.
    """
    costs = {cell: CellCost("simulated", {"latency_ms": float(cell[1])}) for cell in world.accuracies}
    given = wrong = 0
    for estimates, true in decisions(world, metric, maps, seed):
        chosen = recommend(estimates, costs, margin, draws=DRAWS).chosen
        given += chosen is not None
        wrong += chosen is not None and max(true.values()) - true[chosen] > margin
    return given / maps, wrong / maps
