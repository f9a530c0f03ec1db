"""Answers of a network to images, batch by batch."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from resomap.cells.decision import OperatingPoint
from resomap.compute.temperature import tempered
from resomap.compute.thresholds import log_odds
from resomap.machine.cpus import available_cores
from resomap.prediction.image_batches import ReadBatch, read_batches
from resomap.prediction.image_list import Listed
from resomap.prediction.networks import Network
from resomap.winner.ensemble import averaged


@dataclass(frozen=True)
class Answer:
    """Class probabilities (`shares`) of one image, float32 [classes], or why there are none.

    `log_probabilities` are those at temperature 1.
    """

    image: str
    shares: np.ndarray | None
    error: str | None = None
    log_probabilities: np.ndarray | None = None

    def log_odds(self, index: int) -> float:
        """Return the log odds of one class against the others, which do not saturate as its share does."""
        assert self.log_probabilities is not None
        return float(log_odds(self.log_probabilities[None], index)[0])

    def is_positive(self, classes: Sequence[str], point: OperatingPoint) -> bool:
        """Return True if the image is called the positive class of the operating point."""
        return self.log_odds(classes.index(point.positive)) > point.threshold


def batches_of(network: Network, images: Sequence[Listed]) -> list[Sequence[Listed]]:
    """Return the images in batches of one forward pass each; which image is in which depends on their order alone."""
    size = network.batch
    return [images[start : start + size] for start in range(0, len(images), size)]


def answers(
    network: Network, batches: Sequence[Sequence[Listed]], workers: int | None = None
) -> Generator[list[Answer]]:
    """Yield the answers to the images of each batch, in their order.

    An image that cannot be read gives an answer with an error; the others go on. Where there are many images,
    `workers` processes decode them, as many as there are cores if it is not given.
    """
    with closing(read_batches(network.form, batches, workers or available_cores())) as reading:
        for batch, found in zip(batches, reading, strict=True):
            yield _answered(network, batch, found)


def _answered(network: Network, images: Sequence[Listed], found: ReadBatch) -> list[Answer]:
    members = network.answering(found.pixels) if len(found.pixels) else []
    if not members:
        return [Answer(image.name, None, error) for image, error in zip(images, found.errors, strict=True)]
    shares = np.stack([np.exp(tempered(one, network.temperature)) for one in members]).mean(axis=0)
    logs = averaged(members) if len(members) > 1 else members[0]
    rows = iter(zip(shares, logs, strict=True))
    answered = []
    for image, error in zip(images, found.errors, strict=True):
        if error is not None:
            answered.append(Answer(image.name, None, error))
            continue
        share, log = next(rows)
        answered.append(Answer(image.name, share, None, log))
    return answered
