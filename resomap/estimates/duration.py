"""Predicted training time of cells: from the times of finished cells, else from the number of operations.

Light: it reads done markers, measured costs (`results/costs.csv` makes them) and the sizes that were counted when the
grid was checked. No torch, so FLOPs come from there and the device is only known by its kind.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from resomap.cells import shared_features
from resomap.cells.cell import Cell
from resomap.cells.learning_rate_choice import EXTENSIONS
from resomap.cells.marker import Marker
from resomap.cells.measurement import DIRECTORY as COSTS
from resomap.cells.study import Study
from resomap.config import Training
from resomap.config.load import training_for
from resomap.core.files import read_json
from resomap.models.fits import Size, sizes

# Forward passes that take as long as one with its backward pass: two gradients, of inputs and of weights, each as
# many operations as the pass itself.
TRAINING_PASSES = 3
# What nothing measured can correct: (FLOPs, activations) a second. A forward pass is either limited by computing or by
# writing; a GPU of 2018 with mixed precision, and one core of a server's CPU.
NOMINAL = {"cuda": (2e13, 2e10), "cpu": (6e10, 1e8)}

# Of a training's process before its first step and behind its last: imports, and files that are written.
START_SECONDS = 8.0

Pair = tuple[str, int]  # model, resolution


class Durations:
    """Predicted times of one study's cells. Measurements are read once, when the first prediction is asked for."""

    def __init__(self, study: Study, kind: str, cores: int = 1) -> None:
        """Take the device that the cells will train on, `cpu` or `cuda`, and the cores of a training on a CPU."""
        self._study, self._kind = study, kind
        self._scale = 1 if kind == "cuda" else max(1, cores)
        self._sizes: dict[Pair, Size] = {}

    def seconds(self, cell: Cell) -> float:
        """Predicted seconds of the cell's training: all epochs with their validation, without start and end."""
        recipe = self._study.recipe(cell)
        return self._pass_seconds((cell.model, cell.resolution)) * self._passes(recipe, recipe.epochs)

    def search_seconds(self, cell: Cell) -> float:
        """Predicted seconds of the search for a model's learning rate; `cell` is the model at the trials' resolution.

        Half of the rates beyond the ladder that it may try count.
        """
        recipe = training_for(self._study.config, cell.model).trial
        search, data = recipe.learning_rate_search, self._study.config.data
        # With folds trials have all images outside the test split.
        train = data.shares[0] if data.folds is None else sum(data.shares)
        shares = train * (1 - search.held_out), train * search.held_out
        # Of a frozen network the trials share the features.
        trials = 1 if recipe.trainable == "head" else len(search.rates) + EXTENSIONS / 2
        passes = trials * self._passes(recipe, recipe.epochs, shares)
        return self._pass_seconds((cell.model, cell.resolution)) * passes

    @property
    def are_measured(self) -> bool:
        """True if finished trainings or measured costs correct the predictions."""
        return bool(self._corrections or self._cost_corrections)

    def _passes(self, recipe: Training, epochs: int, shares: tuple[float, float] | None = None) -> float:
        """Number of forward passes of one image that take as long as a training of so many epochs.

        `shares`: of the images, those that it learns from and those that judge it; None: as in the study. While the
        head alone learns no gradient goes through the network; a linear probe computes its features once, or each of
        the trainings that share them is given its part of that.
        """
        train, val = self._study.config.data.shares if shares is None else shares
        if recipe.trainable == "head":
            sharing = 1 if shares is not None else shared_features.sharing(self._study, recipe)
            return self._study.data.images * (train + val) / sharing
        frozen = min(recipe.freeze_epochs, epochs)
        learning = TRAINING_PASSES * (epochs - frozen) + frozen
        return self._study.data.images * (learning * train + epochs * val)

    def _pass_seconds(self, pair: Pair) -> float:
        """Predicted seconds per image: expected time x measured correction of the nearest finished cell."""
        expected = self._expected(pair)
        ratio = _nearest(self._corrections, pair)
        return expected * (_mean(self._corrections.values()) if ratio is None else ratio)

    @cached_property
    def _corrections(self) -> dict[Pair, float]:
        """Correction of each model and resolution with finished cells: measured time / expected time."""
        observed: dict[Pair, list[float]] = {}
        for pair, seconds in self._observed():
            observed.setdefault(pair, []).append(seconds)
        self._learn(observed)
        return {pair: _mean(times) / self._expected(pair) for pair, times in observed.items()}

    def _observed(self) -> list[tuple[Pair, float]]:
        """Measured seconds per image of finished cells, those on the device that most of them ran on."""
        found: list[tuple[str, Pair, float]] = []
        for cell in self._study.cells():
            marker, recipe = Marker.read(cell.marker), self._study.recipe(cell)
            if marker is None or recipe.trainable == "head":  # whose steps do not pass through the network
                continue
            seconds, epochs = marker.cost.train_seconds, marker.epochs
            if seconds and epochs:
                pair = cell.model, cell.resolution
                found.append((str(marker.cost.device), pair, seconds / self._passes(recipe, epochs)))
        if not found:
            return []
        usual = Counter(device for device, _, _ in found).most_common(1)[0][0]
        return [(pair, seconds) for device, pair, seconds in found if device == usual]

    def _expected(self, pair: Pair) -> float:
        """Expected seconds per image: theoretical time x correction of the nearest measured cost."""
        ratio = _nearest(self._cost_corrections, pair)
        return self._theoretical(pair) * (_mean(self._cost_corrections.values()) if ratio is None else ratio)

    @cached_property
    def _cost_corrections(self) -> dict[Pair, float]:
        """Correction of each model and resolution with a measured cost: measured time / theoretical time."""
        found: dict[Pair, float] = {}
        grid = {(cell.model, cell.resolution) for cell in self._study.cells()}
        for model, resolution in sorted(grid):
            content = read_json(Path(COSTS, self._kind, model, f"{resolution}.json"))
            rate = content.get("throughput_images_per_second_median") if isinstance(content, dict) else None
            if isinstance(rate, int | float) and 0 < rate < math.inf:
                found[model, resolution] = 1 / rate
        self._learn(found)
        return {pair: seconds / self._theoretical(pair) for pair, seconds in found.items()}

    def _theoretical(self, pair: Pair) -> float:
        """Theoretical seconds per image, by the network's operations."""
        if pair not in self._sizes:
            self._learn([pair])
        flops, activations = NOMINAL[self._kind]
        size, resolution = self._sizes[pair], pair[1]
        seconds = size.forecast_flops(resolution) / flops + size.forecast_activations(resolution) / activations
        return max(resolution**2 / flops, seconds) / self._scale

    def _learn(self, pairs: Iterable[Pair]) -> None:
        """Look up the sizes of all pairs of the grid at once, as each look reads a file."""
        if not self._sizes:
            pairs = [*pairs, *((cell.model, cell.resolution) for cell in self._study.cells())]
        self._sizes |= sizes(pair for pair in pairs if pair not in self._sizes)


def _nearest(values: Mapping[Pair, float], pair: Pair) -> float | None:
    """Value of the same model at the nearest resolution; None where the model has none."""
    model, wanted = pair
    of_model = {resolution: value for (name, resolution), value in values.items() if name == model}
    return of_model[min(of_model, key=lambda resolution: abs(resolution - wanted))] if of_model else None


def _mean(values: Iterable[float]) -> float:
    """Geometric mean, in which ratios of 2 and 1/2 cancel; 1 where there is no value."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else 1.0
