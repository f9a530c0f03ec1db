"""Images of a recorded grid: what trainings learn from, what choices are made by, and the pool that tells the truth."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from resomap.data.decode import resize
from resomap.data.store import Images


@dataclass(frozen=True)
class Pictures:
    """Grey pictures of one split in their own size, with classes and, where pictures belong together, groups."""

    pixels: np.ndarray  # uint8 [N, S, S, 1]
    labels: np.ndarray  # int64 [N]
    groups: np.ndarray | None = None  # int64 [N]

    def at(self, resolution: int) -> Images:
        """Return the pictures at a resolution in pixels, scaled as the package prepares images."""
        scaled = np.stack([resize(picture, resolution, "squash") for picture in self.pixels])
        return Images(scaled, self.labels, [str(number) for number in range(len(self.labels))])


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Pictures of a grid in three splits. No training and no choice ever sees the pool."""

    classes: tuple[str, ...]
    train: Pictures
    val: Pictures
    pool: Pictures

    @property
    def digest(self) -> str:
        """Digest over all pixels and labels: other versions of what draws or reads them may make other images."""
        found = hashlib.sha256()
        for split in (self.train, self.val, self.pool):
            found.update(split.pixels.tobytes())
            found.update(split.labels.tobytes())
        return found.hexdigest()


Draw = Callable[[np.random.Generator, int], Pictures]


def drawn(classes: tuple[str, ...], draw: Draw, *, seed: int, train: int, val: int, pool: int) -> ImageSet:
    """Draw the three splits of a generated set, each independently of the others; groups never span two splits."""
    streams = np.random.default_rng(seed).spawn(3)
    splits = [draw(stream, count) for stream, count in zip(streams, (train, val, pool), strict=True)]
    return ImageSet(classes=classes, train=splits[0], val=splits[1], pool=splits[2])


def divided(classes: tuple[str, ...], pictures: Pictures, *, seed: int, train: int, val: int) -> ImageSet:
    """Divide pictures without groups, stratified by class; whatever train and val leave is the pool."""
    every = np.arange(len(pictures.labels))
    learnt, rest = train_test_split(every, train_size=train, stratify=pictures.labels, random_state=seed)
    chosen, left = train_test_split(rest, train_size=val, stratify=pictures.labels[rest], random_state=seed)
    splits = [Pictures(pictures.pixels[rows], pictures.labels[rows]) for rows in map(np.sort, (learnt, chosen, left))]
    return ImageSet(classes=classes, train=splits[0], val=splits[1], pool=splits[2])
