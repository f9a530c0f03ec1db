"""Images on which resolution decides: those that only the higher one gets right, and only the lower.

Two trainings of one square, which differ by their seed alone, disagree on many images too. So the disagreement of the
two resolutions stands beside that of two seeds.
"""

from dataclasses import dataclass

import numpy as np

from resomap.report.material import Material
from resomap.report.thumbnails import Thumbnails
from resomap.statistics import Position

IMAGES = 96  # of the whole chapter, at most about
AT_MOST = 6  # of one group
AT_LEAST = 2
SEEDS_DISAGREE = 0.1  # share of images on which two seeds of one cell are known to disagree, about


@dataclass(frozen=True)
class Seen:
    """An image at two resolutions: its class, and the model's answer at each (class, its mean probability in %)."""

    name: str
    truth: str
    low: str | None  # the image itself, as data
    high: str | None
    said_low: str
    said_high: str


@dataclass(frozen=True)
class Noise:
    """Mean number of images, of `images`, that just one of two trainings gets right.

    resolutions: of two trainings at the two resolutions. seeds: of two trainings of one square, the mean of both
    squares; None with one seed each.
    """

    images: int
    resolutions: float
    seeds: float | None

    @property
    def sentence(self) -> str:
        """The two numbers beside each other, in words."""
        if self.seeds is None:
            return (
                f"The two trainings disagree on {self._of(self.resolutions)}. That is no effect of resolution yet: two "
                f"seeds of one cell are known to disagree on about one image in ten, here "
                f"{SEEDS_DISAGREE * self.images:.0f}; several seeds would tell."
            )
        beyond = max(0.0, self.resolutions - self.seeds)
        return (
            f"On average two trainings at the two resolutions disagree on {self._of(self.resolutions)}, and two seeds "
            f"of one and the same cell on {self._of(self.seeds)}: resolution adds about {self._of(beyond)}, and the "
            "rest is seen between two seeds as well."
        )

    def _of(self, count: float) -> str:
        return f"{count:.1f} images ({count / self.images:.1%})"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One model at its lowest and highest resolution. A square's answer is that of its seeds' mean probabilities."""

    model: str
    low: int
    high: int
    seeds: tuple[int, int]
    both: int
    only_high: int
    only_low: int
    neither: int
    noise: Noise
    gained: list[Seen]  # only the higher one is right; the clearest first
    lost: list[Seen]


def disagreements(material: Material, thumbnails: Thumbnails) -> list[Pair]:
    """Return a pair for each model that has predictions at two resolutions or more."""
    known = {position: votes for position in material.evidence.positions if (votes := _votes(material, position))}
    models = [model for model in material.models if sum(one[0] == model for one in known) > 1]
    shown = max(AT_LEAST, min(AT_MOST, IMAGES // (2 * len(models)))) if models else 0
    pairs = []
    for model in models:
        sizes = sorted(resolution for one, resolution in known if one == model)
        pairs.append(_pair(model, known[model, sizes[0]], known[model, sizes[-1]], shown, thumbnails))
    return pairs


@dataclass(frozen=True)
class _Votes:
    """Mean probabilities [N, classes] of a square's seeds, and a mask of the images that this mean gets right [N].

    alone: share [N] of the seeds that get an image right by themselves.
    """

    resolution: int
    seeds: int
    names: list[str]
    classes: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    right: np.ndarray
    alone: np.ndarray

    @property
    def between_seeds(self) -> float | None:
        """Mean number of images that just one of two seeds gets right, over all pairs of them; None with one seed."""
        if self.seeds < 2:
            return None
        return float((2 * self.alone * (1 - self.alone)).sum() * self.seeds / (self.seeds - 1))


def _votes(material: Material, position: Position) -> _Votes | None:
    parts = material.shown(position)
    classes = next((one.predictions.classes for one in material.evidence.of(position) if one.predictions), [])
    if not parts or not len(parts[0].labels):
        return None
    labels = np.asarray(parts[0].labels)
    probabilities = np.mean([part.probabilities for part in parts], axis=0)
    right = probabilities.argmax(axis=1) == labels
    alone = np.mean([part.log_probabilities.argmax(axis=1) == labels for part in parts], axis=0)
    return _Votes(position[1], len(parts), list(parts[0].names), classes, labels, probabilities, right, alone)


def _noise(low: _Votes, high: _Votes) -> Noise:
    between = low.alone * (1 - high.alone) + high.alone * (1 - low.alone)
    known = [one.between_seeds for one in (low, high) if one.between_seeds is not None]
    return Noise(len(low.labels), float(between.sum()), float(np.mean(known)) if known else None)


def _pair(model: str, low: _Votes, high: _Votes, shown: int, thumbnails: Thumbnails) -> Pair:
    images = np.arange(len(low.labels))
    clearer = high.probabilities[images, high.labels] - low.probabilities[images, low.labels]
    gained, lost = high.right & ~low.right, low.right & ~high.right

    def seen(chosen: np.ndarray, order: np.ndarray) -> list[Seen]:
        indices = [int(index) for index in np.argsort(order, kind="stable") if chosen[index]]
        return [_seen(index, low, high, thumbnails) for index in indices[:shown]]

    return Pair(
        model=model,
        low=low.resolution,
        high=high.resolution,
        seeds=(low.seeds, high.seeds),
        both=int((low.right & high.right).sum()),
        only_high=int(gained.sum()),
        only_low=int(lost.sum()),
        neither=int((~low.right & ~high.right).sum()),
        noise=_noise(low, high),
        gained=seen(gained, -clearer),
        lost=seen(lost, clearer),
    )


def _seen(index: int, low: _Votes, high: _Votes, thumbnails: Thumbnails) -> Seen:
    def said(votes: _Votes) -> str:
        best = int(votes.probabilities[index].argmax())
        return f"{votes.classes[best]} {votes.probabilities[index, best]:.0%}"

    name = low.names[index]
    return Seen(
        name,
        low.classes[int(low.labels[index])],
        thumbnails.of(name, low.resolution),
        thumbnails.of(name, high.resolution),
        said(low),
        said(high),
    )
