"""The recommendation: which cell, why, under which budget, and what is said where nothing is shown."""

from collections.abc import Mapping

import numpy as np
import pytest

from resomap.core.errors import ResomapError
from resomap.statistics import CellCost, Position, Sample, estimate, recommend, sentences
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
    assert found.more_images is found.more_seeds is None
    text = sentences(found)
    assert text.startswith(
        "Use model0 at 64 px (latency 2 ms on toaster): with 95 % confidence its accuracy is at most"
    )
    assert "below that of the best of 4 cells" in text
    assert "20,000 validation images and 3 seeds a cell, training noise included" in text
    assert text.count(". ") == 1  # two sentences


def test_one_seed_speaks_of_these_trained_models() -> None:
    cells = drawn(20_000, seeds=1)
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.03)
    assert found.chosen is not None
    assert not found.includes_training_noise
    assert "With one seed a cell this is said of these trained models only" in sentences(found)


def test_too_few_images_leave_it_undecided_and_say_how_many_would_do() -> None:
    cells = drawn(300)
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.01)
    assert found.chosen is None
    assert ("model0", 64) in found.open
    assert ("model0", 32) not in found.open
    assert found.more_images is not None
    text = sentences(found)
    assert text.startswith("Undecided between model0 at 64 px")
    assert f"About {found.more_images:,} more validation images" in text
    assert "would settle it if the estimates stay as they are" in text


def test_the_images_asked_for_do_settle_it() -> None:
    """The same predictions over and over: the same estimates from more images."""
    cells = drawn(400, seeds=1)
    first = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.02)
    assert first.chosen is None
    assert first.more_images is not None

    def repeated(times: float) -> Position | None:
        rows = np.arange(round(400 * times)) % 400
        more = {
            cell: [Sample(one.labels[rows], one.log_probabilities[rows]) for one in own] for cell, own in cells.items()
        }
        return recommend(estimate(more, "accuracy"), costs(more), margin=0.02).chosen

    whole = -(-(first.more_images + 400) // 400)
    assert repeated(whole + 1) is not None
    assert repeated(whole // 2) is None


def test_seeds_are_asked_for_where_training_noise_decides() -> None:
    world = World(grid({64: 0.9, 96: 0.9}, 2), 20_000, 3, 0.02)
    cells = world.draw(np.random.default_rng(0))[0]
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.015)
    assert found.chosen is None
    assert found.more_images is None
    assert found.more_seeds is not None
    assert found.more_seeds > 0
    assert f"{found.more_seeds} more seed" in sentences(found)


def test_where_one_alone_will_not_do_both_are_named() -> None:
    world = World(grid({64: 0.9, 96: 0.9, 128: 0.9}, 2), 300, 3, 0.02)
    cells = world.draw(np.random.default_rng(4))[0]
    found = recommend(estimate(cells, "accuracy"), costs(cells), margin=0.008)
    assert found.chosen is found.more_images is found.more_seeds is None
    assert found.more_of_both is not None
    images, seeds = found.more_of_both
    assert f"About {images:,} more validation images together with {seeds} more seeds a cell" in sentences(found)


def test_a_budget_leaves_out_what_is_over_it_and_measures_against_the_rest() -> None:
    cells = drawn(5000)
    found = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"latency_ms": 2.5, "params": 5.0})
    assert found.candidates == (("model0", 32), ("model0", 64))
    assert found.chosen == ("model0", 64)
    assert found.deficits["model0", 64].estimate == 0
    assert found.excluded["model0", 96] == "its latency_ms of 3 is over the budget of 2.5"
    assert "the best of 2 cells within the budget" in sentences(found)
    only = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"latency_ms": 1})
    assert only.chosen == ("model0", 32)
    assert sentences(only).startswith("Use model0 at 32 px: it is the only cell within the budget.")


def test_a_budget_that_nothing_meets_is_said() -> None:
    cells = drawn(300)
    found = recommend(estimate(cells, "accuracy"), costs(cells), 0.01, {"flops": 0.5})
    assert found.chosen is found.best is None
    assert set(found.excluded) == set(cells)
    assert sentences(found).startswith("No cell is known to be within the budget (flops 0.5). Raise it")
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
    assert "no cost of any cell is known" in sentences(nothing)


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
    assert "is the best of 2 cells" in sentences(found)
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
