"""Pairs, resolutions, deficits and fronts on predictions whose counts are known."""

import itertools

import numpy as np
import pytest

from resomap.core.errors import ResomapError
from resomap.statistics import (
    CellCost,
    Deficits,
    Position,
    Sample,
    compare,
    compare_resolutions,
    estimate,
    intervals,
    pareto_front,
)
from resomap.statistics.scatter import pool
from resomap.statistics.simulation import World, grid


def trained(right: int, images: int = 400, shift: int = 0) -> Sample:
    """A training that has `right` of its images right, all of one class, beginning with the one numbered `shift`."""
    hits = np.roll(np.arange(images) < right, shift)
    return Sample.of_probabilities(np.zeros(images, dtype=int), np.where(hits[:, None], [0.8, 0.2], [0.3, 0.7]))


def drawn(seeds: int, images: int = 500, models: int = 2, seed: int = 1) -> dict[Position, list[Sample]]:
    qualities = {32: 0.7, 64: 0.8, 96: 0.9, 128: 0.9}
    return World(grid(qualities, models), images, seeds, 0.01).draw(np.random.default_rng(seed))[0]


def test_a_difference_of_pairs_is_narrower_than_that_of_strangers() -> None:
    alike, apart = trained(350, shift=5), trained(350, shift=200)
    cells = {("a", 1): [trained(360)], ("b", 1): [alike], ("c", 1): [apart]}
    estimates = estimate(cells, "accuracy")
    near, far = compare(estimates, [(("a", 1), ("b", 1)), (("a", 1), ("c", 1))])
    assert near.difference == far.difference == pytest.approx(10 / 400)
    assert near.high - near.low < 0.5 * (far.high - far.low)
    assert near.low < near.difference < near.high


def test_intervals_and_p_values_of_a_comparison_agree() -> None:
    pairs = list(itertools.combinations(drawn(3), 2))
    for found in compare(estimate(drawn(3), "balanced_accuracy"), pairs):
        assert found.is_distinguishable == (not found.low <= 0 <= found.high)


def test_more_comparisons_make_wider_intervals() -> None:
    estimates = estimate(drawn(3), "accuracy")
    pair = (("model0", 64), ("model1", 64))
    (alone,) = compare(estimates, [pair])
    among = next(
        one
        for one in compare(estimates, list(itertools.combinations(drawn(3), 2)))
        if one.first == pair[0] and one.second == pair[1]
    )
    assert among.high - among.low > 1.2 * (alone.high - alone.low)
    assert among.p > alone.p
    assert compare(estimates, []) == []


def test_the_same_predictions_give_the_same_figures() -> None:
    first, second = (compare_resolutions(estimate(drawn(3), "auroc")) for _ in range(2))
    assert first == second


def test_identical_models_do_not_differ_and_are_not_certainly_alike() -> None:
    cells = {("a", 32): [trained(10, 10)], ("a", 64): [trained(10, 10)]}
    (found,) = compare(estimate(cells, "accuracy"), [(("a", 32), ("a", 64))])
    assert found.difference == 0
    assert found.high > 0.2  # ten images exclude no difference of two
    assert not found.is_distinguishable


def test_a_threshold_is_the_lowest_resolution_like_the_best() -> None:
    found = compare_resolutions(estimate(drawn(3, 2000), "balanced_accuracy"))
    assert set(found) == {"model0", "model1"}
    for model in found.values():
        assert model.alike == (96, 128)
        assert model.best in model.alike
        assert {(96, 64), (96, 32), (128, 64), (128, 32)} <= set(model.claims)
        assert not {(96, 128), (128, 96)} & set(model.claims)
        assert model.includes_training_noise


def test_one_seed_makes_no_claim_of_resolutions() -> None:
    for model in compare_resolutions(estimate(drawn(1, 2000), "accuracy")).values():
        assert any(pair.is_distinguishable for pair in model.comparisons)
        assert model.claims == ()
        assert not model.includes_training_noise


def test_of_equal_resolutions_the_lower_is_named_best() -> None:
    cells = {("a", size): [trained(300)] for size in (96, 32, 64)}
    found = compare_resolutions(estimate(cells, "accuracy"))["a"]
    assert found.best == 32
    assert found.alike == (32, 64, 96)


def test_seeds_that_scatter_widen_the_interval_and_more_of_them_narrow_it() -> None:
    def width(*rights: int) -> float:
        cells = {("a", 1): [trained(right, shift=7 * number) for number, right in enumerate(rights)]}
        one = intervals(estimate(cells, "accuracy"))[("a", 1)]
        assert one.low <= one.value <= one.high
        assert one.seeds == len(rights)
        return one.high - one.low

    assert width(340, 360) > width(350, 350)
    assert width(340, 360, 340, 360, 340) < width(340, 360, 340)
    one = intervals(estimate({("a", 1): [trained(340), trained(360)]}, "accuracy"))[("a", 1)]
    assert one.deviation == pytest.approx(np.std([0.85, 0.9], ddof=1))


def test_training_variance_is_found_again_without_that_of_the_images() -> None:
    random = np.random.default_rng(0)
    own, training = 0.0004, 0.0009
    values = random.normal(0, np.sqrt(own + training), (400, 3))
    found = pool(values.var(axis=1, ddof=1), np.full(400, 2), np.full(400, own), np.ones(400))
    assert found is not None
    assert found.training == pytest.approx(training, rel=0.15)
    assert (found.freedom == 800).all()
    assert pool(np.zeros(4), np.zeros(4), np.full(4, own), np.ones(4)) is None


def test_a_cell_that_scatters_more_keeps_its_variance_and_a_single_seed_takes_that_of_the_others() -> None:
    found = pool(np.array([4e-4, 1e-4, 100e-4, 0.0]), np.array([2, 2, 2, 0]), np.full(4, 1e-5), np.ones(4))
    assert found is not None
    assert found.variance[2] == 100e-4
    assert found.variance[0] == found.variance[1] == found.variance[3]


def test_grids_with_seeds_missing_include_training_noise_everywhere() -> None:
    cells = drawn(3)
    cells["model0", 32] = cells["model0", 32][:1]
    found = intervals(estimate(cells, "accuracy"))
    assert found["model0", 32].includes_training_noise
    assert found["model0", 32].deviation is None
    alone = intervals(estimate({("model0", 32): cells["model0", 32]}, "accuracy"))["model0", 32]
    assert found["model0", 32].high - found["model0", 32].low > alone.high - alone.low


def test_deficits_keep_all_that_may_be_best_and_bound_the_others() -> None:
    table = Deficits(estimate(drawn(3, 3000), "balanced_accuracy")).table()
    assert {cell[1] for cell, one in table.items() if one.may_be_best} == {96, 128}
    for cell, one in table.items():
        assert 0 <= one.estimate <= one.upper <= 1
        if cell[1] == 32:
            assert 0.15 < one.estimate < one.upper < 0.3
    only = Deficits(estimate({("a", 1): [trained(300)]}, "accuracy")).table()
    assert only["a", 1].upper == 0
    assert only["a", 1].may_be_best


def test_undefined_cells_are_left_out_by_name() -> None:
    good = trained(300)
    broken = Sample(good.labels, np.full_like(good.log_probabilities, np.nan))
    estimates = estimate({("a", 1): [good, good], ("b", 1): [good, broken]}, "accuracy")
    assert estimates.cells == (("a", 1),)
    assert estimates.undefined == (("b", 1),)
    with pytest.raises(ResomapError, match="auroc is undefined for every cell"):
        estimate({("a", 1): [good]}, "auroc")


def test_predictions_of_other_images_are_refused() -> None:
    with pytest.raises(ResomapError, match="b at 64 px are of other images"):
        estimate({("a", 32): [trained(300)], ("b", 64): [trained(30, 40)]}, "accuracy")
    with pytest.raises(ResomapError, match="b at 64 px has no predictions"):
        estimate({("a", 32): [trained(300)], ("b", 64): []}, "accuracy")
    with pytest.raises(ResomapError, match="no predictions to compare"):
        estimate({}, "accuracy")


def test_the_front_is_what_nothing_beats() -> None:
    values = {
        ("a", 1): 0.8,
        ("b", 1): 0.9,
        ("c", 1): 0.85,
        ("d", 1): 0.9,
        ("e", 1): None,
        ("f", 1): 0.99,
        ("g", 1): 0.7,
    }
    latencies = {"a": 1.0, "b": 3.0, "c": 3.5, "d": 3.0, "e": 0.1, "f": None, "g": 1.0}
    costs = {(name, 1): CellCost("gpu", {"latency_ms": value}) for name, value in latencies.items()}
    assert pareto_front(values, costs, "latency_ms") == [("a", 1), ("b", 1), ("d", 1)]
    assert pareto_front(values, costs, "flops") == []
    assert pareto_front(values, {}, "flops") == []


def test_devices_are_never_mixed_in_a_front() -> None:
    costs = {("a", 1): CellCost("cpu", {"flops": 1.0}), ("b", 1): CellCost("H200", {"flops": 2.0})}
    with pytest.raises(ResomapError, match="on cpu and on H200"):
        pareto_front({("a", 1): 0.8, ("b", 1): 0.9}, costs, "flops")
    assert pareto_front({("a", 1): 0.8}, costs, "flops") == [("a", 1)]
    with pytest.raises(ResomapError, match="'watts' is no cost"):
        pareto_front({("a", 1): 0.8}, costs, "watts")  # type: ignore[arg-type]


def test_one_collapsed_training_does_not_blur_the_other_cells() -> None:
    observed = np.full(20, 1e-4)
    observed[3] = 0.05
    found = pool(observed, np.full(20, 2), np.full(20, 1e-5), np.ones(20))
    assert found is not None
    assert found.variance[3] == 0.05
    assert np.delete(found.variance, 3) == pytest.approx(1e-4)
    assert (found.freedom == 38).all()
    cells = [(f"model{number // 5}", number % 5) for number in range(20)]
    assert pool(observed, np.full(20, 2), np.full(20, 1e-5), np.ones(20), cells).pools.max() == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("axis", [0, 1])
def test_resolutions_or_models_that_scatter_unlike_have_variances_of_their_own(axis: int) -> None:
    cells = [(f"model{number // 5}", number % 5) for number in range(20)]
    unsteady = np.array([cell[axis] == ("model2", 2)[axis] for cell in cells])
    random = np.random.default_rng(0)
    observed = np.where(unsteady, 36e-4, 1e-4) * random.chisquare(2, 20) / 2
    found = pool(observed, np.full(20, 2), np.full(20, 1e-6), np.ones(20), cells)
    assert found is not None
    assert len(np.unique(found.pools)) == len(np.unique([cell[axis] for cell in cells]))
    assert found.variance[unsteady].mean() > 10 * found.variance[~unsteady].mean()
    assert (found.freedom[unsteady] == 2 * unsteady.sum()).all()


def test_trainings_near_chance_do_not_make_those_near_one_uncertain() -> None:
    """Cells at chance scatter by several points; those that are right on every image cannot."""
    random = np.random.default_rng(3)
    labels = np.arange(300) % 2
    guess, right = np.full((300, 2), 0.5), np.eye(2)[labels]

    def guessed() -> Sample:
        return Sample.of_probabilities(
            labels, np.eye(2)[np.where(random.random(300) < random.uniform(0.3, 0.7), labels, 1 - labels)]
        )

    cells = {("m", size): [guessed() for _ in range(3)] for size in (16, 24)}
    cells |= {
        ("m", size): [Sample.of_probabilities(labels, 0.9 * right + 0.1 * guess) for _ in range(3)] for size in (64, 96)
    }
    found = intervals(estimate(cells, "accuracy"))
    assert found["m", 64].low > 0.92
    assert found["m", 16].high - found["m", 16].low > 0.1
