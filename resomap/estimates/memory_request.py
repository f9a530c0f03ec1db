"""Main memory to request for a training, so that a cluster gives it enough and leaves the rest to others."""

import functools

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.models.fits import Size, size_of

MB = 10**6
# Of a process that has imported torch and trains: on a GPU the CUDA libraries and pinned batches are in it too.
PROCESS = {"cpu": 1500 * MB, "cuda": 5000 * MB}
# In units of the weights: on a CPU network, gradients, two moments of the optimizer, and workspace; on both the best
# weights so far and the copy of all of it that is being saved.
WEIGHTS = {"cpu": 11, "cuda": 6}
# On a CPU, for each element that a convolution or matrix product writes: it, what follows it (normalisation,
# activation), and gradients, in float32. Measured on four models: 13 to 16 bytes, with bfloat16 9.
BYTES_AN_ACTIVATION = 16
# An attempt that was killed for want of memory is followed by one that asks for half as much again, up to four times.
GROWTH, MOST = 1.5, 4.0


def memory_mb(study: Study, cell: Cell, kind: str, attempt: int = 1) -> int:
    """Main memory in MB to request for an attempt at a cell that trains on `cpu` or `cuda`."""
    size, recipe = size_at(cell.model, cell.resolution), study.recipe(cell)
    needed: float = PROCESS[kind] + WEIGHTS[kind] * size.weights
    if kind == "cpu":
        images = recipe.microbatch if isinstance(recipe.microbatch, int) else recipe.batch_size
        needed += images * size.forecast_activations(cell.resolution) * BYTES_AN_ACTIVATION
    return round(needed / MB * min(MOST, GROWTH ** (attempt - 1)))


@functools.cache
def size_at(model: str, resolution: int) -> Size:
    """Size of a network, read once: seeds share it, and Snakemake asks several times for each job."""
    return size_of(model, resolution)
