"""Promises of the map, held against simulated maps whose truth is known.

Seconds by default; RESOMAP_SIMULATED_MAPS=2000 draws so many maps in place of each test's own number, and
`python -m resomap.statistics 2000` prints all figures. A share may miss its target by what chance allows.
"""

import os

import pytest
from scipy import stats

from resomap.statistics.promises import (
    bounds_held,
    interval_coverage,
    maps_with_claims,
    recommendations,
    thresholds_found,
)
from resomap.statistics.quality import Metric
from resomap.statistics.simulation import World, grid

RESOLUTIONS = (64, 96, 128, 192, 256)
NO_EFFECT = dict.fromkeys(RESOLUTIONS, 0.9)
THRESHOLD = dict(zip(RESOLUTIONS, (0.70, 0.80, 0.90, 0.90, 0.90), strict=True))


def maps(ordinary: int) -> int:
    """Return how many maps are drawn."""
    return int(os.environ.get("RESOMAP_SIMULATED_MAPS", ordinary))


def chance(share: float, count: int) -> float:
    """Return how far a true share can stray in so many draws, once in 2000 times."""
    return float(stats.norm.ppf(0.9995) * (share * (1 - share) / count) ** 0.5)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "auroc"])
@pytest.mark.parametrize(("images", "quality"), [(200, 0.8), (500, 0.95), (2000, 0.98)])
def test_intervals_of_one_training_hold_the_truth_in_95_of_100(metric: Metric, images: int, quality: float) -> None:
    count = maps(600)
    held = interval_coverage(World({("model", 64): quality}, images), metric, count)
    assert held == pytest.approx(0.95, abs=0.02 + chance(0.95, count))


@pytest.mark.parametrize(("seeds", "training"), [(2, 0.01), (3, 0.0), (3, 0.01), (3, 0.02), (5, 0.01)])
def test_intervals_of_several_seeds_hold_the_cell_s_truth(seeds: int, training: float) -> None:
    count = maps(80)
    held = interval_coverage(World(grid(NO_EFFECT, 2), 600, seeds, training), "balanced_accuracy", count)
    # A map's ten cells share their images, so they are less than ten draws: taken as three.
    assert held == pytest.approx(0.955, abs=0.025 + chance(0.95, 3 * count))


@pytest.mark.parametrize(("models", "seeds", "training"), [(4, 3, 0.01), (4, 3, 0.02), (1, 3, 0.015), (4, 2, 0.015)])
def test_no_effect_maps_rarely_claim_a_better_resolution(models: int, seeds: int, training: float) -> None:
    count = maps(250)
    _, claimed = maps_with_claims(World(grid(NO_EFFECT, models), 500, seeds, training), "balanced_accuracy", count)
    assert claimed <= 0.05 + chance(0.05, count)


def test_one_seed_tells_trained_models_apart_but_never_claims_a_resolution() -> None:
    apart, claimed = maps_with_claims(World(grid(NO_EFFECT, 4), 2000, 1, 0.015), "balanced_accuracy", maps(40))
    assert apart > 0.5  # these models do differ: that is the training noise, which one seed cannot know
    assert claimed == 0


def test_one_seed_tells_no_models_apart_where_there_is_no_training_noise() -> None:
    count = maps(250)
    apart, _ = maps_with_claims(World(grid(NO_EFFECT, 2), 500), "accuracy", count)
    assert apart <= 0.05 + chance(0.05, count)


def test_a_true_threshold_is_found_with_three_seeds() -> None:
    world = World(grid(THRESHOLD, 4), 800, 3, 0.01)
    assert thresholds_found(world, "balanced_accuracy", 128, maps(25)) > 0.9


@pytest.mark.parametrize(("images", "seeds"), [(200, 1), (1000, 1), (1000, 3)])
def test_bounds_on_the_deficits_hold_together_though_the_best_is_picked(images: int, seeds: int) -> None:
    count = maps(200)
    nearly_alike = dict(zip(RESOLUTIONS, (0.94, 0.95, 0.96, 0.96, 0.96), strict=True))
    held = bounds_held(World(grid(nearly_alike, 2), images, seeds, 0.008), "accuracy", count)
    assert held >= 0.95 - chance(0.95, count)


@pytest.mark.parametrize("seeds", [1, 3])
def test_recommended_cells_are_within_the_margin(seeds: int) -> None:
    count = maps(150)
    world = World(grid(dict(zip(RESOLUTIONS, (0.85, 0.878, 0.90, 0.90, 0.90), strict=True)), 1), 3000, seeds, 0.004)
    given, wrong = recommendations(world, "accuracy", 0.02, count)
    assert given > 0.5
    assert wrong <= 0.05 + chance(0.05, count)
