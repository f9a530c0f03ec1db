"""Measurement, on simulated maps, of what the statistics promise. Each function returns a share of maps or cells."""

import numpy as np

from resomap.statistics.best import Deficits
from resomap.statistics.interval_estimates import estimate, intervals
from resomap.statistics.pareto import CellCost
from resomap.statistics.quality import Metric
from resomap.statistics.recommendation import recommend
from resomap.statistics.resolutions import compare_resolutions
from resomap.statistics.simulation import World

DRAWS = 2000


def interval_coverage(world: World, metric: Metric, maps: int, seed: int = 0) -> float:
    """Return the share of cells whose 95 % interval holds the truth.

    The truth is the trained model's with one seed, else the cell's.
    """
    random = np.random.default_rng(seed)
    truth = {cell: world.truth(metric, cell) for cell in world.accuracies}
    held = []
    for _ in range(maps):
        samples, trained = world.draw(random)
        for cell, interval in intervals(estimate(samples, metric)).items():
            true = truth[cell] if interval.includes_training_noise else world.of_training(metric, trained[cell][0])
            held.append(interval.low <= true <= interval.high)
    return float(np.mean(held))


def maps_with_claims(world: World, metric: Metric, maps: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of maps with two resolutions of one model told apart, and with a claim that one is better."""
    random = np.random.default_rng(seed)
    apart = claimed = 0
    for _ in range(maps):
        found = compare_resolutions(estimate(world.draw(random)[0], metric), DRAWS).values()
        apart += any(pair.is_distinguishable for model in found for pair in model.comparisons)
        claimed += any(model.claims for model in found)
    return apart / maps, claimed / maps


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
    random = np.random.default_rng(seed)
    held = 0
    for _ in range(maps):
        samples, trained = world.draw(random)
        estimates = estimate(samples, metric)
        true = {
            cell: world.truth(metric, cell)
            if estimates.includes_training_noise
            else world.of_training(metric, trained[cell][0])
            for cell in estimates.cells
        }
        best = max(true.values())
        table = Deficits(estimates, DRAWS).table()
        bounded = all(best - true[cell] <= deficit.upper for cell, deficit in table.items())
        held += bounded and any(table[cell].may_be_best for cell in table if true[cell] == best)
    return held / maps


def recommendations(world: World, metric: Metric, margin: float, maps: int, seed: int = 0) -> tuple[float, float]:
    """Return the shares of maps with a recommendation, and with one whose true deficit is above the margin.

    Cost grows with the resolution. The truth is that of the cells, or with one seed that of the trained models.
    """
    random = np.random.default_rng(seed)
    costs = {cell: CellCost("simulated", {"latency_ms": float(cell[1])}) for cell in world.accuracies}
    given = wrong = 0
    for _ in range(maps):
        samples, trained = world.draw(random)
        estimates = estimate(samples, metric)
        chosen = recommend(estimates, costs, margin, draws=DRAWS).chosen
        if chosen is None:
            continue
        several = estimates.includes_training_noise
        true = {c: world.truth(metric, c) if several else world.of_training(metric, trained[c][0]) for c in trained}
        given += 1
        wrong += max(true.values()) - true[chosen] > margin
    return given / maps, wrong / maps
