"""Promises of the map, held against simulated worlds whose truth is known.

Coverage may miss its target by two points and an error rate by one, with 2,000 draws where a claim is made. What draws
whole maps with several seeds has fewer; RESOMAP_SIMULATED_MAPS=2000 gives it as many. `python -m resomap.statistics`
prints all claims, of which these are the ones that seconds can tell.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from resomap.statistics import estimate, intervals
from resomap.statistics.choice_promises import (
    frames_off_the_diagonal,
    repeated_looks,
    right_choices,
    value_of_the_winner,
)
from resomap.statistics.claims import as_table, mean_of, share_of
from resomap.statistics.confusion_worlds import ClassWorld
from resomap.statistics.interval_promises import of_the_gap
from resomap.statistics.promises import (
    bounds_held,
    interval_coverage,
    maps_with_claims,
    recommendations,
    thresholds_found,
)
from resomap.statistics.quality import Metric, quality
from resomap.statistics.simulation import World, grid

CLAIMED = 2000  # draws
COVERAGE, ERRORS = 0.93, 0.06
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
    held = interval_coverage(World({("model", 64): quality}, images), metric, CLAIMED)
    assert COVERAGE <= held <= 0.99


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "auroc"])
@pytest.mark.parametrize(
    ("alike", "pure", "positives"), [(0.3, True, 200), (0.6, True, 200), (0.6, False, 0.5)], ids=str
)
def test_intervals_hold_where_images_are_of_forty_groups(
    metric: Metric, alike: float, pure: bool, positives: float
) -> None:
    world = World({("model", 64): 0.9}, 400, positives=positives, group_size=10, alike=alike, pure=pure)
    assert COVERAGE <= interval_coverage(world, metric, CLAIMED) <= 0.99
    if metric == "balanced_accuracy":
        assert _relative_width(world, metric) <= 1.2
    blind = replace(world, told=False)
    assert interval_coverage(blind, metric, 300) < 0.9, "as independent images they are believed too much"


def _relative_width(world: World, metric: Metric) -> float:
    """Return the median width over that of an interval by someone who knows the standard error."""
    random, widths, values = np.random.default_rng(0), [], []
    for _ in range(500):
        (found,) = intervals(estimate(world.draw(random)[0], metric)).values()
        widths.append(found.high - found.low)
        values.append(found.value)
    return float(np.median(widths) / (2 * 1.96 * np.std(values)))


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "macro_precision"])
@pytest.mark.parametrize(
    ("images", "recalls"),
    [
        ((374, 20), (0.95, 0.8)),
        ((57, 3), (0.95, 0.8)),
        ((40,) * 9 + (3,), (0.9,) * 10),
        ((3,) * 10, (0.9,) * 10),
        ((10,) * 10, (0.8,) * 10),
    ],
    ids=str,
)
def test_intervals_hold_down_to_three_images_in_a_class(
    metric: Metric, images: tuple[int, ...], recalls: tuple[float, ...]
) -> None:
    world, random = ClassWorld(images, recalls), np.random.default_rng(1)
    truth = world.truth(metric)
    held = []
    for _ in range(CLAIMED):
        one = intervals(estimate({("a", 1): [world.draw(random)]}, metric))["a", 1]
        held.append(one.low <= truth <= one.high)
    assert np.mean(held) >= 0.92


def test_truths_of_class_worlds_are_those_of_many_images() -> None:
    world = ClassWorld((60_000, 20_000, 9_000), (0.9, 0.6, 0.8))
    sample = world.draw(np.random.default_rng(0))
    metrics: tuple[Metric, ...] = ("balanced_accuracy", "macro_f1", "macro_precision", "macro_recall")
    for metric in metrics:
        found = quality(metric, sample)
        assert found is not None
        assert found.value == pytest.approx(world.truth(metric), abs=0.01)


@pytest.mark.parametrize("positives", [3, 8, 20])
def test_areas_under_the_curve_hold_with_few_positives(positives: int) -> None:
    world = World({("model", 64): 0.85}, 394, positives=positives)
    assert interval_coverage(world, "auroc", CLAIMED) >= COVERAGE


def test_the_gap_between_validation_and_test_is_covered_where_epochs_are_chosen() -> None:
    for claim in of_the_gap(300):
        assert claim.measured >= COVERAGE, claim


@pytest.mark.parametrize(("seeds", "training"), [(2, 0.01), (3, 0.0), (3, 0.01), (3, 0.02), (5, 0.01)])
def test_intervals_of_several_seeds_hold_the_cell_s_truth(seeds: int, training: float) -> None:
    count = maps(80)
    held = interval_coverage(World(grid(NO_EFFECT, 2), 600, seeds, training), "balanced_accuracy", count)
    # A map's ten cells share their images, so they are less than ten draws: taken as three.
    assert held == pytest.approx(0.955, abs=0.025 + chance(0.95, 3 * count))


@pytest.mark.parametrize(("models", "seeds", "training"), [(4, 3, 0.01), (1, 3, 0.015), (4, 2, 0.015)])
def test_no_effect_maps_rarely_claim_a_better_resolution(models: int, seeds: int, training: float) -> None:
    count = maps(250)
    _, claimed = maps_with_claims(World(grid(NO_EFFECT, models), 500, seeds, training), "balanced_accuracy", count)
    assert claimed <= 0.05 + chance(0.05, count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "metric"),
    [
        (World(grid(NO_EFFECT, 2), 400, 3, 0.01, group_size=10, alike=0.5), "balanced_accuracy"),
        (World(grid(NO_EFFECT, 2), 394, 3, 0.01, positives=10), "balanced_accuracy"),
        (World(grid(NO_EFFECT, 2), 394, 3, 0.01, positives=3), "auroc"),
    ],
    ids=str,
)
def test_groups_and_rare_classes_make_no_more_false_claims(world: World, metric: Metric) -> None:
    _, claimed = maps_with_claims(world, metric, CLAIMED)
    assert claimed <= ERRORS


def test_a_resolution_that_scatters_more_makes_few_more_false_claims() -> None:
    cells = grid(NO_EFFECT, 4)
    unsteady = frozenset(cell for cell in cells if cell[1] == RESOLUTIONS[0])
    count = maps(150)
    _, claimed = maps_with_claims(World(cells, 2000, 2, 0.01, unsteady=unsteady), "balanced_accuracy", count)
    assert claimed <= 0.08 + chance(0.08, count)


@pytest.mark.slow
def test_looking_again_after_each_seed_makes_no_more_false_claims() -> None:
    for claim in repeated_looks(maps(60)):
        assert claim.measured <= 0.05 + chance(0.05, maps(60)), claim


def test_frames_leave_the_diagonal_only_by_chance() -> None:
    for claim in frames_off_the_diagonal(maps(40)):
        assert claim.measured <= 0.05 + chance(0.05, maps(40)), claim


def test_the_true_front_is_among_the_possible_one() -> None:
    fronts = [claim for claim in right_choices(maps(60)) if "front" in claim.claim]
    assert len(fronts) == 2
    for claim in fronts:
        assert claim.measured >= 0.95 - chance(0.95, maps(60)), claim


def test_the_winner_s_value_is_worth_less_than_it_looks() -> None:
    claims = list(value_of_the_winner(maps(25)))
    for raw, corrected in zip(claims[::2], claims[1::2], strict=True):
        assert raw.measured > 3 * raw.error
        assert abs(corrected.measured) < 0.3 + 3.3 * corrected.error, corrected
        assert abs(corrected.measured) < raw.measured


def test_the_table_of_claims_gives_each_its_error() -> None:
    lines = as_table([share_of("a", "b", "0.9", [True] * 3 + [False]), mean_of("c", "d", "0", [1.0, 3.0])]).splitlines()
    assert lines[2] == "| a | b | 0.9 | 0.750 | 0.217 |"
    assert lines[3] == "| c | d | 0 | 2.000 | 0.707 |"


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
