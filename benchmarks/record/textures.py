"""Generated textures: gratings in noise, of which the classes differ in frequency or in direction."""

import numpy as np

from benchmarks.record.image_sets import ImageSet, Pictures, drawn

SIDE = 64  # pixels; at r pixels a grating of more than r / 2 cycles a picture is invisible
SPECIMEN = 5  # pictures of one specimen
CHUNK = 1000  # pictures that are drawn at a time


def weave() -> ImageSet:
    """Coarse and fine threads: the coarse ones half tell the class, the fine ones tell it where they can be seen."""
    return drawn(("loose", "tight"), _weave, seed=11, train=320, val=400, pool=10_000)


def bark() -> ImageSet:
    """Specimens of five pictures each: a specimen of a misleading direction misleads in all of them."""
    return drawn(("pine", "oak"), _bark, seed=12, train=400, val=400, pool=10_000)


def grain() -> ImageSet:
    """Three directions of one coarse grating in strong noise: low resolutions show all there is."""
    return drawn(("along", "slanted", "across"), _grain, seed=13, train=300, val=400, pool=10_000)


def few_gratings() -> ImageSet:
    """A handful of specimens, for tests."""
    return drawn(("pine", "oak"), _bark, seed=14, train=40, val=30, pool=60)


def _weave(random: np.random.Generator, count: int) -> Pictures:
    labels = random.integers(0, 2, count)
    coarse = _gratings(random, labels * 90 + random.normal(0, 40, count), random.uniform(2, 4, count))
    cycles = np.where(labels == 0, random.uniform(8, 13, count), random.uniform(13, 19, count))
    fine = _gratings(random, random.uniform(0, 180, count), cycles)
    return _pictures(random, 22 * coarse + random.uniform(15, 45, count)[:, None, None] * fine, 20, labels)


def _bark(random: np.random.Generator, count: int) -> Pictures:
    specimens = -(-count // SPECIMEN)
    groups = np.arange(count) // SPECIMEN
    labels = random.integers(0, 2, specimens)[groups]
    direction = random.normal(0, 30, specimens)[groups] + labels * 60 + random.normal(0, 8, count)
    cycles = random.uniform(3, 9, specimens)[groups]
    contrast = random.uniform(15, 45, specimens)[groups]
    lines = contrast[:, None, None] * _gratings(random, direction, cycles)
    return _pictures(random, lines, 35, labels, groups)


def _grain(random: np.random.Generator, count: int) -> Pictures:
    labels = random.integers(0, 3, count)
    lines = _gratings(random, labels * 60 + random.normal(0, 16, count), random.uniform(2, 3.5, count))
    return _pictures(random, random.uniform(20, 40, count)[:, None, None] * lines, 55, labels)


def _gratings(random: np.random.Generator, degrees: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """Return gratings float32 [N, SIDE, SIDE] in -1..1 of given directions and cycles a picture [N]."""
    across = np.linspace(0, 2 * np.pi, SIDE, endpoint=False, dtype=np.float32)
    angles = np.deg2rad(degrees).astype(np.float32)[:, None, None]
    waves = cycles.astype(np.float32)[:, None, None]
    phases = random.uniform(0, 2 * np.pi, len(degrees)).astype(np.float32)[:, None, None]
    return np.sin(waves * (np.cos(angles) * across[None, None, :] + np.sin(angles) * across[None, :, None]) + phases)


def _pictures(
    random: np.random.Generator, lines: np.ndarray, noise: float, labels: np.ndarray, groups: np.ndarray | None = None
) -> Pictures:
    pixels = np.empty((*lines.shape, 1), dtype=np.uint8)
    for start in range(0, len(lines), CHUNK):
        part = lines[start : start + CHUNK]
        grey = 128 + part + noise * random.standard_normal(part.shape, dtype=np.float32)
        pixels[start : start + CHUNK, ..., 0] = grey.clip(0, 255)
    return Pictures(pixels, labels.astype(np.int64), groups)
