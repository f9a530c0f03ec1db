"""Training batches, gathered from the prepared store one step ahead of the device."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resomap.config import Training
from resomap.data.store import Images
from resomap.train import augment, draws, policies

AHEAD = 2  # batches in preparation: one being gathered, one waiting


@dataclass(frozen=True)
class Batch:
    """Images of one optimizer step, with their labels and random draws."""

    pixels: Tensor  # uint8 [N, S, S, C]: as large as the network's input, or larger where crops are taken of them
    size: int  # pixels a side of the network's input
    labels: Tensor  # int64 [N]
    draws: Tensor  # float32 [N, augment.COLUMNS] in 0..1
    share: float  # mixup's share of each image against its partner
    seeds: Tensor  # int64 [N, policies.KINDS], on the CPU
    cut: augment.Cut | None  # CutMix in place of mixup
    rows: Tensor  # int64 [N]: which of the training images these are
    weights: Tensor | None = None  # float32 [N], of each image in the loss; None: all weigh the same


class TrainingBatches:
    """Batches of any epoch, from any step on: a pure function of (seed, epoch, step)."""

    def __init__(self, images: Images, recipe: Training, seed: int, pinned: bool, size: int | None = None) -> None:
        """`size`: pixels a side of the network's input; None: that of the images, of which no crop is taken then."""
        self._images = images
        self._size = size or images.pixels.shape[1]
        # Scaled to a mean of 1, so that they change no learning rate.
        given = images.weights
        self._weights = None if given is None else (given / given.mean()).astype(np.float32)
        self._recipe = recipe
        self._seed = seed
        self._pinned = pinned
        self.batch_size = min(recipe.batch_size, len(images.labels))
        self.steps = draws.steps_per_epoch(len(images.labels), recipe.batch_size)

    @property
    def labels(self) -> np.ndarray:
        """Classes of all training images, int64 [N]."""
        return self._images.labels

    @property
    def images(self) -> Images:
        """All training images, in the order of the store."""
        return self._images

    def first(self) -> Batch:
        """Return the training's first batch; all of its batches have the shapes of this one."""
        return self._gather(0)(0)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch (counted from 0), without those before `first_step`."""
        gather = self._gather(epoch)
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            waiting: deque[Future[Batch]] = deque()
            for step in range(first_step, self.steps):
                waiting.append(pool.submit(gather, step))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _gather(self, epoch: int) -> Callable[[int], Batch]:
        """Return what makes the batch of a step of an epoch."""
        count = len(self._images.labels)
        order = draws.order(count, self._seed, epoch)
        table = draws.uniforms(count, augment.COLUMNS, self._seed, epoch).astype(np.float32)
        seeds = draws.seeds(count, policies.KINDS, self._seed, epoch)
        cuts = self._cuts(epoch)
        alpha = self._recipe.augment.mixup
        mixing = draws.generator(self._seed, epoch, "mixup")
        shares = mixing.beta(alpha, alpha, self.steps) if alpha > 0 else np.ones(self.steps)

        def gather(step: int) -> Batch:
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            pixels = torch.from_numpy(self._images.pixels[rows])
            labels = torch.from_numpy(self._images.labels[rows])
            if self._pinned:
                pixels, labels = pixels.pin_memory(), labels.pin_memory()
            weights = None if self._weights is None else torch.from_numpy(self._weights[rows])
            return Batch(
                pixels,
                self._size,
                labels,
                torch.from_numpy(table[rows]),
                float(shares[step]),
                torch.from_numpy(seeds[rows]),
                cuts[step],
                torch.from_numpy(rows),
                weights,
            )

        return gather

    def _cuts(self, epoch: int) -> Sequence[augment.Cut | None]:
        """Return CutMix's rectangle for each step of an epoch; None where there is none, or mixup has its turn."""
        alpha = self._recipe.augment.cutmix
        if alpha == 0:
            return [None] * self.steps
        cutting = draws.generator(self._seed, epoch, "cutmix")
        kept = cutting.beta(alpha, alpha, self.steps)
        places = cutting.random((self.steps, 3))
        has_turn = (places[:, 2] < 0.5) | (self._recipe.augment.mixup == 0)
        return [
            augment.Cut(float(share), float(x), float(y)) if own else None
            for share, (x, y, _), own in zip(kept, places, has_turn, strict=True)
        ]
