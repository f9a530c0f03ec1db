"""Replays of recorded grids: what is drawn is what was recorded, and a rule is held against the truth."""

import numpy as np
import pytest

from benchmarks.record.compact import pack
from benchmarks.record.recorded_grid import RecordedGrid
from benchmarks.replay.judge import Clustered, judge
from benchmarks.replay.redraw import DrawnMap, Redraw
from benchmarks.replay.rules import RULES, Verdict
from resomap.statistics import CellCost, Sample

SQUARES = (("small", 16), ("small", 32), ("large", 16), ("large", 32))
ACCURACIES = (0.7, 0.85, 0.86, 0.95)
SEEDS, VAL, POOL = 2, 200, 2000


def recorded(group_size: int | None = None) -> RecordedGrid:
    """A grid without trainings: each cell is right on its share of the images, at random."""
    random = np.random.default_rng(0)
    labels = {"val": random.integers(0, 2, VAL), "pool": random.integers(0, 2, POOL)}
    planes = {
        split: tuple(
            {(square, 1): answers(random, labels[split], accuracy) for square, accuracy in enumerate(ACCURACIES)}
            for _ in range(SEEDS)
        )
        for split in labels
    }
    groups = {split: None if group_size is None else np.arange(len(one)) // group_size for split, one in labels.items()}
    cells = len(SQUARES)
    return RecordedGrid(
        name="drawn",
        kind="none",
        squares=SQUARES,
        seeds=tuple(range(SEEDS)),
        classes=("a", "b"),
        flops=np.array([1, 4, 2, 8]) * 10**6,
        params=np.array([1, 1, 2, 2]) * 10**5,
        train_counts=np.array([10, 10]),
        val_labels=labels["val"],
        pool_labels=labels["pool"],
        val_groups=groups["val"],
        pool_groups=groups["pool"],
        predicted=np.zeros((SEEDS, cells, 1, VAL), dtype=np.uint8),
        best_epoch=np.ones((SEEDS, cells), dtype=int),
        history={},
        seconds=np.ones((SEEDS, cells, 1)),
        planes=planes,
    )


def answers(random: np.random.Generator, labels: np.ndarray, accuracy: float) -> np.ndarray:
    said = np.where(random.random(len(labels)) < accuracy, labels, 1 - labels)
    return pack(np.log(np.where(said[:, None] == np.arange(2), 0.8, 0.2)))


def hits(sample: Sample) -> np.ndarray:
    return sample.log_probabilities.argmax(axis=1) == sample.labels


@pytest.mark.parametrize("group_size", [None, 8])
def test_a_replay_is_drawn_from_all_that_was_recorded(group_size: int | None) -> None:
    grid = recorded(group_size)
    redraw = Redraw(grid)
    answered, labels = (
        np.concatenate([grid.val, grid.pool], axis=2),
        np.concatenate([grid.val_labels, grid.pool_labels]),
    )
    right = (answered.argmax(-1) == labels).mean(axis=(0, 2))
    drawn = list(redraw.maps(40, seeds=3))
    for number, square in enumerate(SQUARES):
        assert drawn[0].truth[square] == pytest.approx(right[number])
        shares = [hits(sample).mean() for one in drawn for sample in one.trainings[square]]
        assert len(shares) == 3 * len(drawn)
        assert abs(np.mean(shares) - right[number]) < 0.02
        assert np.std(shares) == pytest.approx(np.sqrt(right[number] * (1 - right[number]) / VAL), rel=0.4)
    sample = drawn[0].trainings[SQUARES[0]][0]
    assert VAL <= len(sample.labels) < VAL + (group_size or 1)
    assert (sample.groups is None) == (group_size is None)
    if sample.groups is not None:
        assert set(np.unique(sample.groups, return_counts=True)[1]) == {group_size}
    again = next(redraw.maps(1, seeds=3))
    assert np.array_equal(
        again.trainings[SQUARES[3]][2].log_probabilities, drawn[0].trainings[SQUARES[3]][2].log_probabilities
    )


def test_the_map_as_recorded_has_the_pool_as_its_truth() -> None:
    grid = recorded()
    one = Redraw(grid).as_recorded()
    for number, square in enumerate(SQUARES):
        assert len(one.trainings[square]) == SEEDS
        assert np.array_equal(one.trainings[square][1].log_probabilities, grid.val[1, number])
        pool = (grid.pool[:, number].argmax(-1) == grid.pool_labels).mean()
        assert one.truth[square] == pytest.approx(pool)


def test_a_rule_is_judged_by_hand() -> None:
    truth = {("a", 16): 0.90, ("b", 16): 0.895, ("c", 16): 0.80}
    said = iter(
        [
            Verdict(("a", 16), True, 0.9),
            Verdict(("b", 16), True, 0.8),
            Verdict(("c", 16), True, 0.7),
            Verdict(("c", 16), False, 0.6),
        ]
    )
    costs = {cell: CellCost("x", {}) for cell in truth}
    maps = [DrawnMap(trainings={}, costs=costs, truth=truth)] * 4
    found = judge(lambda *_: next(said), maps, margin=0.01, metric="accuracy")
    assert (found.maps, found.decided, found.wrong, found.within) == (4, 3, 1, 2)
    assert found.regret == pytest.approx((0 + 0.005 + 0.1 + 0.1) / 4)
    assert found.stated == pytest.approx(0.75)
    assert found.overstated == pytest.approx(0.25)
    assert Clustered.of([0.1, 0.3]).error == pytest.approx(0.1)  # sd 0.1414 of two, over its root
    assert Clustered.of([0.1]).in_points() == "10.0"


def test_rules_answer_every_map_and_are_not_far_off() -> None:
    redraw = Redraw(recorded())
    for name, rule in RULES.items():
        found = judge(rule, redraw.maps(10, seeds=2), margin=0.05, metric="accuracy")
        assert found.maps == 10
        assert found.within == 10, name  # nine points between the best cell and the next
        assert found.decided >= 8, name
