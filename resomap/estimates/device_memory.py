"""Memory that a training takes of the device that trains it, and whether it fits into a share of it.

Of a GPU it is predicted from the network's size alone, with the factors of `memory_request`, which were measured on
CPUs: none was measured on a GPU yet. A share that turns out too small ends in a halved microbatch, as everywhere.
"""

from collections.abc import Collection
from fractions import Fraction

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.config import Training
from resomap.estimates.memory_request import BYTES_AN_ACTIVATION, MB, memory_mb, size_at
from resomap.machine.gpus import share_bytes

# In units of the weights: network, gradients, two moments of the optimizer, and half precision's copies.
GPU_WEIGHTS = 5
BYTES_AN_ACTIVATION_HALF = 9  # as BYTES_AN_ACTIVATION, with 16-bit numbers
# What libraries take to compute, and what lies between the tensors.
GPU_WORKSPACE, FRAGMENTS = 1000 * MB, 1.1
MOST_BY_ITSELF = 4  # trainings on a device where the configuration leaves their number open
ENOUGH = 0.5  # of the trainings must fit into a share, or the device is not shared by itself


def gpu_bytes(study: Study, cell: Cell) -> int:
    """Memory in bytes that the tensors of a training take of a GPU; the process's CUDA context is not among them."""
    size, recipe = size_at(cell.model, cell.resolution), study.recipe(cell)
    each = BYTES_AN_ACTIVATION if recipe.amp == "off" else BYTES_AN_ACTIVATION_HALF
    weights = (GPU_WEIGHTS + (recipe.ema_decay is not None)) * size.weights
    activations = _images(recipe) * size.forecast_activations(cell.resolution) * each
    return round(FRAGMENTS * (weights + activations) + GPU_WORKSPACE)


def fits(study: Study, cell: Cell, kind: str, whole: int, trainings: int) -> bool:
    """Return True if a training fits where so many share a device of kind `cpu` or `cuda` with `whole` bytes."""
    if kind == "cuda":
        return gpu_bytes(study, cell) <= share_bytes(whole, Fraction(1, trainings))
    return memory_mb(study, cell, kind) * MB <= whole / trainings


def most_trainings(study: Study, cells: Collection[Cell], kind: str, whole: int, most: int) -> int:
    """Return how many trainings may share a device, at most `most`: so many that half of `cells` fit in their share."""
    for trainings in range(min(most, MOST_BY_ITSELF), 1, -1):
        fitting = sum(fits(study, cell, kind, whole, trainings) for cell in cells)
        if cells and fitting >= ENOUGH * len(cells):
            return trainings
    return 1


def _images(recipe: Training) -> int:
    """Return the images of a forward pass."""
    return recipe.microbatch if isinstance(recipe.microbatch, int) else recipe.batch_size
