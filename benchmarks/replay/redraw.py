"""Maps drawn anew from a recorded grid, its seeds and its validation images, with their truth.

A replay is a draw from the world that the recording makes up. Its trainings are those on record, drawn with replacement
for each cell by itself; its images are those of validation and pool together, drawn with replacement (groups as a
whole) until there are as many as the grid had for validation. The truth of a cell in that world is its mean over all
recorded trainings and images: it is exact, whereas on images that happen not to be drawn it would have an error of its
own, which in a small pool is as large as that of the map. On the map as it was recorded a rule sees the validation
images alone, and the truth is that of the pool alone.
Left out: a best epoch was chosen on the recorded validation images, which are few among those that are drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.record.recorded_grid import RecordedGrid
from resomap.statistics import CellCost, Metric, Position, Sample, Trainings, quality

DEVICE = "recorded"


@dataclass(frozen=True, kw_only=True)
class DrawnMap:
    """Map of a replay: all that a rule sees and, hidden from it, the true value (a share) of each cell."""

    trainings: dict[Position, Trainings]
    costs: dict[Position, CellCost]
    truth: dict[Position, float]


class Redraw:
    """All replays of one grid. The same seed gives the same maps."""

    def __init__(self, grid: RecordedGrid, metric: Metric = "accuracy") -> None:
        self.grid, self._metric = grid, metric
        self._labels = np.concatenate([grid.val_labels, grid.pool_labels])
        self._answers = np.concatenate([grid.val, grid.pool], axis=2)
        self._groups: np.ndarray | None = None
        if grid.val_groups is not None and grid.pool_groups is not None:
            self._groups = np.concatenate([grid.val_groups, grid.pool_groups + grid.val_groups.max() + 1])

    def maps(self, count: int, seeds: int, random_seed: int = 0) -> Iterator[DrawnMap]:
        """Yield maps of so many seeds a cell, drawn anew each time."""
        random = np.random.default_rng([random_seed, seeds])
        for _ in range(count):
            images, groups = self._draw_images(random)
            chosen = random.integers(0, len(self.grid.seeds), (len(self.grid.squares), seeds))
            yield self._map(
                [self._samples(square, row, images, groups) for square, row in enumerate(chosen)], self.truth
            )

    def as_recorded(self) -> DrawnMap:
        """Return the map as it was recorded, all seeds and the validation images; the truth is that of the pool."""
        numbers, val = np.arange(len(self._labels)), len(self.grid.val_labels)
        groups = None if self._groups is None else self._groups[:val]
        every = np.arange(len(self.grid.seeds))
        squares = range(len(self.grid.squares))
        trainings = [self._samples(square, every, numbers[:val], groups) for square in squares]
        return self._map(trainings, self._truth_on(numbers[val:]))

    @cached_property
    def truth(self) -> dict[Position, float]:
        """True value of each cell in the world that replays are drawn from."""
        return self._truth_on(np.arange(len(self._labels)))

    def _truth_on(self, images: np.ndarray) -> dict[Position, float]:
        every = np.arange(len(self.grid.seeds))
        return {
            square: float(np.mean([self._value(one) for one in self._samples(number, every, images, None)]))
            for number, square in enumerate(self.grid.squares)
        }

    def _map(self, trainings: Sequence[Trainings], truth: dict[Position, float]) -> DrawnMap:
        squares = self.grid.squares
        costs = zip(self.grid.flops, self.grid.params, strict=True)
        return DrawnMap(
            trainings=dict(zip(squares, trainings, strict=True)),
            costs={
                square: CellCost(DEVICE, {"flops": float(flops) / 1e9, "params": float(params) / 1e6})
                for square, (flops, params) in zip(squares, costs, strict=True)
            },
            truth=truth,
        )

    def _draw_images(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the numbers of the images that are drawn and, where there are groups, the draw that each came with."""
        wanted = len(self.grid.val_labels)
        if self._groups is None:
            return random.integers(0, len(self._labels), wanted), None
        members = np.split(np.argsort(self._groups, kind="stable"), np.bincount(self._groups).cumsum()[:-1])
        drawn: list[np.ndarray] = []
        while sum(map(len, drawn)) < wanted:
            drawn.append(members[random.integers(0, len(members))])
        return np.concatenate(drawn), np.repeat(np.arange(len(drawn)), [len(one) for one in drawn])

    def _samples(self, square: int, seeds: np.ndarray, images: np.ndarray, groups: np.ndarray | None) -> list[Sample]:
        return [Sample(self._labels[images], self._answers[seed, square][images], groups) for seed in seeds]

    def _value(self, sample: Sample) -> float:
        found = quality(self._metric, sample)
        return float("nan") if found is None else found.value
