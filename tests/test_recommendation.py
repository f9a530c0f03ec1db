"""The recommendation by proof: which cell, under which budget, and which are excluded and why."""

from collections.abc import Mapping

import numpy as np
import pytest

from resomap.core.errors import ResomapError
from resomap.statistics import CellCost, Position, Sample, estimate, recommend
from resomap.statistics.simulation import World, grid

QUALITIES = {32: 0.70, 64: 0.90, 96: 0.905, 128: 0.905}


def drawn(images: int, seeds: int = 3, training: float = 0.002, models: int = 1) -> dict[Position, list[Sample]]:
    return World(grid(QUALITIES, models), images, seeds, training).draw(np.random.default_rng(2))[0]


def costs(cells: Mapping[Position, object]) -> dict[Position, CellCost]:
    """Latency and FLOPs grow with the resolution."""
    return {
        cell: CellCost("toaster", {"latency_ms": cell[1] / 32, "flops": (cell[1] / 32) ** 2, "params": 5.0})
        for cell in cells
    }


def test_the_cheapest_cell_within_the_margin_is_chosen_and_not_the_best() -> None:
    cells = drawn(20_000)
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.03)
    assert found.chosen == ("model0", 64)
    assert found.best in {("model0", 96), ("model0", 128)}
    assert found.deficits["model0", 64].upper <= 0.03 < found.deficits["model0", 32].upper
    assert found.candidates == tuple(("model0", size) for size in QUALITIES)
    assert found.cost == "latency_ms"
    assert found.open == ()


def test_one_seed_speaks_of_these_trained_models() -> None:
    cells = drawn(20_000, seeds=1)
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.03)
    assert found.chosen is not None
    assert not found.includes_training_noise


def test_too_few_images_leave_it_open() -> None:
    cells = drawn(300)
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.01)
    assert found.chosen is None
    assert ("model0", 64) in found.open
    assert ("model0", 32) not in found.open


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_least_that_images_can_prove_falls_with_their_number_alone(seeds: int) -> None:
    few, many = (recommend(estimate(drawn(count, seeds), "accuracy"), {}, 0.01) for count in (300, 3000))
    assert 0.002 < many.least_provable < few.least_provable < 0.1
    # Nothing less is proven of any cell, but of one that is better than all others.
    assert all(one.upper >= few.least_provable or one.estimate == 0 for one in few.deficits.values())


def test_a_budget_leaves_out_what_is_over_it_and_measures_against_the_rest() -> None:
    cells = drawn(5000)
    found = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"latency_ms": 2.5, "params": 5.0})
    assert found.candidates == (("model0", 32), ("model0", 64))
    assert found.chosen == ("model0", 64)
    assert found.deficits["model0", 64].estimate == 0
    assert found.excluded["model0", 96] == "its latency_ms of 3 is over the budget of 2.5"
    only = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"latency_ms": 1})
    assert only.chosen == ("model0", 32)


def test_a_budget_that_nothing_meets_is_said() -> None:
    cells = drawn(300)
    found = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"flops": 0.5})
    assert found.chosen is found.best is None
    assert set(found.excluded) == set(cells)
    unknown = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"memory_mb": 500})
    assert unknown.excluded["model0", 32] == "its memory_mb is unknown, so it cannot be held against the budget"


def test_cheap_is_latency_then_flops_then_parameters_or_what_is_asked_for() -> None:
    cells = drawn(5000)
    estimates = estimate(cells, "accuracy")
    known = costs(cells)
    assert recommend(estimates, known, 0.03, cost="flops").cost == "flops"
    known["model0", 32] = CellCost("toaster", {"flops": 1.0, "params": 5.0})
    found = recommend(estimates, known, 0.03)
    assert found.cost == "flops"
    assert found.costs["model0", 64] == 4.0
    forced = recommend(estimates, known, 0.03, cost="latency_ms")
    assert forced.candidates[-1] == ("model0", 32)  # its latency is unknown: it cannot be the cheapest
    assert forced.costs["model0", 32] is None
    nothing = recommend(estimates, {}, 0.03)
    assert nothing.chosen is None


def test_a_cell_of_unknown_cost_can_be_the_best_but_not_chosen() -> None:
    cells = drawn(5000)
    known = {cell: one for cell, one in costs(cells).items() if cell[1] <= 64}
    found = recommend(estimate(cells, "accuracy"), known, margin=0.03, cost="latency_ms")
    assert found.chosen == ("model0", 64)
    assert found.best in {("model0", 96), ("model0", 128)}


def test_cheaper_cells_that_are_not_settled_are_named() -> None:
    labels = np.zeros(2000, dtype=int)

    def of(wrong: np.ndarray) -> list[Sample]:
        return [Sample.of_probabilities(labels, np.where(wrong[:, None], [0.2, 0.8], [0.9, 0.1]))]

    image = np.arange(2000)
    cells = {("a", 32): of(image < 220), ("a", 64): of((image >= 20) & (image < 200)), ("a", 96): of(image < 180)}
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.025)
    assert found.chosen == ("a", 64)
    assert found.open == (("a", 32),)


def test_a_margin_of_nothing_takes_a_certain_best_and_nothing_else() -> None:
    cells = World({("a", 32): 0.6, ("a", 64): 0.9}, 2000).draw(np.random.default_rng(0))[0]
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.0)
    assert found.chosen == ("a", 64)
    alike = dict.fromkeys(cells, cells["a", 64])
    assert recommend(estimate(alike, "accuracy"), costs(alike), margin=0.0).chosen is None


def test_undefined_cells_are_excluded_by_name() -> None:
    cells = drawn(3000, seeds=1)
    labels = cells["model0", 96][0].labels
    cells["model0", 96] = [Sample.of_probabilities(labels, np.full((len(labels), 2), np.nan))]
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.05)
    assert found.excluded == {("model0", 96): "its accuracy is undefined"}
    assert ("model0", 96) not in found.candidates


def test_mistakes_are_told() -> None:
    cells = drawn(300)
    estimates = estimate(cells, "accuracy")
    mixed = costs(cells)
    mixed["model0", 32] = CellCost("oven", {"latency_ms": 1.0})
    with pytest.raises(ResomapError, match="measured on oven and on toaster"):
        recommend(estimates, mixed, 0.01)
    with pytest.raises(ResomapError, match="'watts' is no cost of a cell; choose one of latency_ms"):
        recommend(estimates, costs(cells), 0.01, {"watts": 3})
    with pytest.raises(ResomapError, match="a margin of 1 is no share"):
        recommend(estimates, costs(cells), 1)
