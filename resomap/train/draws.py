"""Random draws as a pure function of (seed, epoch, purpose): nothing to save, nothing to restore.

Philox is counter-based (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a key gives the same
stream on every machine. Row i of a table of draws belongs to image i, whatever the order in which images are used.
"""

import hashlib

import numpy as np


def generator(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """Random generator of one purpose in one epoch of one seed."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{purpose}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def order(images: int, seed: int, epoch: int) -> np.ndarray:
    """Order in which an epoch visits the training images: a permutation [images] of int64."""
    return generator(seed, epoch, "order").permutation(images)


def uniforms(images: int, columns: int, seed: int, epoch: int) -> np.ndarray:
    """Augmentation draws [images, columns] in [0, 1), float64; row i belongs to image i."""
    return generator(seed, epoch, "augment").random((images, columns))


def seeds(images: int, kinds: int, seed: int, epoch: int) -> np.ndarray:
    """Seeds of generators [images, kinds], int64 of 63 bits; row i belongs to image i."""
    return generator(seed, epoch, "seeds").integers(0, 2**63, (images, kinds), dtype=np.int64)


def step_seed(seed: int, step: int) -> int:
    """Seed for draws inside the model (dropout, stochastic depth) at one optimizer step: 63 bits."""
    digest = hashlib.sha256(f"{seed}/{step}/model".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps an epoch. An incomplete last batch is left out (a batch of one breaks batch normalisation)."""
    return max(1, images // batch_size)
