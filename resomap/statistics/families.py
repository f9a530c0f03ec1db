"""Families of simulated maps: the truth of each map is drawn anew within its family.

What a posterior says is right on average over truths, so it must be judged on many of them. No family is the model of
`resomap.statistics.posterior`: their effects are shapes in accuracy, not normal draws in log odds.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from resomap.statistics.samples import Position
from resomap.statistics.simulation import World

MODELS = 8
RESOLUTIONS = (64, 96, 128, 192, 256)
IMAGES = 400
CEILING, FLOOR = 0.985, 0.55


def _flat(random: np.random.Generator) -> np.ndarray:
    """All cells are alike."""
    return np.full((MODELS, len(RESOLUTIONS)), random.uniform(0.75, 0.97))


def _rising(random: np.random.Generator) -> np.ndarray:
    """Each resolution is better than the one below, by less and less; models differ by some points.

    No model rises just as another does, and no cell lies just on its model's curve.
    """
    octaves = np.log2(np.array(RESOLUTIONS) / RESOLUTIONS[0])
    rates = random.uniform(0.4, 1.5) * np.exp(random.normal(0, 0.25, (MODELS, 1)))
    loss = random.uniform(0.01, 0.12) * np.exp(-octaves / rates)
    own = random.uniform(0, 0.003) * random.uniform(-1.7, 1.7, loss.shape)
    return _models(random, random.uniform(0.003, 0.03)) - loss + own


def _peaked(random: np.random.Generator) -> np.ndarray:
    """The best resolution lies inside the range, somewhat elsewhere for each model."""
    octaves = np.log2(np.array(RESOLUTIONS) / RESOLUTIONS[0])
    peaks = random.uniform(0.3, 1.7) + random.normal(0, 0.25, (MODELS, 1))
    return _models(random, random.uniform(0.003, 0.03)) - random.uniform(0.005, 0.04) * (octaves - peaks) ** 2


def _one_breaks(random: np.random.Generator) -> np.ndarray:
    """Rising, but one model falls by 5 to 15 points over the range, to one side or the other."""
    values = _rising(random)
    slope = random.uniform(0.05, 0.15) * np.linspace(0, 1, len(RESOLUTIONS))
    values[random.integers(MODELS)] -= slope if random.random() < 0.5 else slope[::-1]
    return values


def _heavy_tails(random: np.random.Generator) -> np.ndarray:
    """Rising, and each cell is off by a draw of Student's t with three degrees of freedom."""
    values = _rising(random)
    return values + random.uniform(0.001, 0.005) * random.standard_t(3, values.shape)


def _models(random: np.random.Generator, deviation: float) -> np.ndarray:
    return random.uniform(0.80, 0.96) + random.normal(0, deviation, (MODELS, 1))


Shape = Callable[[np.random.Generator], np.ndarray]
FAMILIES: Mapping[str, Shape] = {
    "flat": _flat,
    "rising": _rising,
    "peaked": _peaked,
    "one model breaks the pattern": _one_breaks,
    "heavy tails": _heavy_tails,
    "unequal scatter": _rising,
    "grouped images": _rising,
    "a rare class": _rising,
}


def draw_world(family: str, seeds: int, random: np.random.Generator) -> World:
    """Draw the truth of one map of the family, and how it is observed with so many seeds a cell.

    Training noise is .2 to 1.2 points between seeds. Where scatter is unequal, one resolution has four times as much;
    groups are of five images; the rare class has 20 of 400 images.
    """
    shape = FAMILIES[family](random).clip(FLOOR, CEILING)
    cells: dict[Position, float] = {
        (f"model{row}", resolution): float(shape[row, column])
        for row in range(MODELS)
        for column, resolution in enumerate(RESOLUTIONS)
    }
    world = World(cells, IMAGES, seeds, random.uniform(0.002, 0.012))
    if family == "unequal scatter":
        worst = RESOLUTIONS[random.integers(len(RESOLUTIONS))]
        return replace(world, unsteady=frozenset(cell for cell in cells if cell[1] == worst))
    if family == "grouped images":
        return replace(world, group_size=5, alike=0.4)
    if family == "a rare class":
        return replace(world, positives=20)
    return world
