"""Simulated maps with a known truth, to measure what the statistics promise.

`python -m resomap.statistics` prints the figures.

A training of a cell has a true accuracy that is beta distributed around the cell's, with the standard deviation
`training`; each image has a difficulty that all trainings share, one that a cell's trainings share and one of each
training. Images of a group are alike in each of the three. A training is right on an image where its strength exceeds
the sum: for both classes alike, so that accuracy and balanced accuracy have the same known truth, and macro F1 and
AUROC follow from it in closed form.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from resomap.statistics.quality import Metric
from resomap.statistics.samples import Position, Sample

SHARED, OF_CELL = 0.6, 0.15  # parts of the variance of the difficulty


@dataclass(frozen=True)
class World:
    """Truth of a simulated map: accuracy (0..1) of each cell, and how a map of it is drawn.

    positives: share of the second class, or exactly so many images of it (an integer). group_size: images of a group,
    all of one class (`pure`) or dealt anyhow; alike: correlation of two of them, before the threshold. unsteady: cells
    whose trainings scatter `unsteadiness` times as much.
    """

    accuracies: Mapping[Position, float]
    images: int = 400
    seeds: int = 1
    training: float = 0.0  # standard deviation between trainings, in accuracy
    positives: float = 0.5
    unsteady: frozenset[Position] = frozenset()
    unsteadiness: float = 4.0
    group_size: int = 1
    alike: float = 0.0
    pure: bool = True
    told: bool = True  # false: whoever judges the map takes the images for independent

    def __str__(self) -> str:
        cells = "1 cell" if len(self.accuracies) == 1 else f"{len(self.accuracies)} cells"
        words = [cells, f"{self.images} images", f"accuracy {max(self.accuracies.values()):.3g}"]
        if self.group_size > 1:
            kind = "of one class each" if self.pure else "of both classes"
            words.append(f"groups of {self.group_size} {kind}, alike {self.alike:g}")
        if self.positives != 0.5:
            words.append(f"{self.positives} positive")
        if self.seeds > 1:
            words.append(f"{self.seeds} seeds, noise {self.training:g}")
        if self.unsteady:
            words.append(f"one resolution scatters {self.unsteadiness:g} times as much")
        return ", ".join(words)

    def truth(self, metric: Metric, cell: Position) -> float:
        """Return the expected quality of a training of the cell, on images without end."""
        return float(np.mean(self._of_accuracy(metric, self._trained(cell, (np.arange(2000) + 0.5) / 2000))))

    def draw(self, random: np.random.Generator) -> tuple[dict[Position, list[Sample]], dict[Position, list[float]]]:
        """Draw a map's predictions; return them and the true accuracy of each of its trainings."""
        labels, groups = self._images(random)
        shared = np.sqrt(SHARED) * self._difficulty(random, groups)
        samples: dict[Position, list[Sample]] = {}
        truths: dict[Position, list[float]] = {}
        for cell in self.accuracies:
            of_cell = shared + np.sqrt(OF_CELL) * self._difficulty(random, groups)
            strengths = self._trained(cell, random.random(self.seeds))
            own = [np.sqrt(1 - SHARED - OF_CELL) * self._difficulty(random, groups) for _ in range(self.seeds)]
            margins = stats.norm.ppf(strengths)[:, None] + of_cell + np.array(own)
            told = groups if self.group_size > 1 and self.told else None
            # The log-sigmoid of the margin, which is positive where the training is right.
            logits = np.where(labels == 1, margins, -margins)
            samples[cell] = [Sample(labels, -np.logaddexp(0, np.stack([one, -one], axis=1)), told) for one in logits]
            truths[cell] = [float(one) for one in strengths]
        return samples, truths

    def of_training(self, metric: Metric, accuracy: float) -> float:
        """Return the quality of a training of that true accuracy, on images without end."""
        return float(self._of_accuracy(metric, np.array([accuracy]))[0])

    def _images(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw labels and groups, both int [images]."""
        groups = np.arange(self.images) // self.group_size
        units = groups[-1] + 1 if self.pure else self.images
        if isinstance(self.positives, int):
            labels = random.permutation(units) * self.group_size < self.positives if self.pure else None
            labels = random.permutation(self.images) < self.positives if labels is None else labels
        else:
            labels = random.random(units) < self.positives
        return (labels[groups] if self.pure else labels).astype(int), groups

    def _difficulty(self, random: np.random.Generator, groups: np.ndarray) -> np.ndarray:
        own = random.standard_normal(self.images)
        if self.group_size == 1:
            return own
        return np.asarray(
            np.sqrt(self.alike) * random.standard_normal(groups[-1] + 1)[groups] + np.sqrt(1 - self.alike) * own
        )

    def _trained(self, cell: Position, uniforms: np.ndarray) -> np.ndarray:
        accuracy = self.accuracies[cell]
        if self.training == 0:
            return np.full(uniforms.shape, accuracy)
        deviation = self.training * (self.unsteadiness if cell in self.unsteady else 1)
        size = accuracy * (1 - accuracy) / deviation**2 - 1
        return np.asarray(stats.beta.ppf(uniforms, accuracy * size, (1 - accuracy) * size))

    def _of_accuracy(self, metric: Metric, accuracy: np.ndarray) -> np.ndarray:
        if metric == "auroc":  # two normal scores of variance 1, twice the strength apart
            return np.asarray(stats.norm.cdf(np.sqrt(2) * stats.norm.ppf(accuracy)))
        if metric == "macro_f1":
            positives = self.positives / self.images if isinstance(self.positives, int) else self.positives
            share = np.array([1 - positives, positives])[:, None]
            predicted = share * accuracy + (1 - share) * (1 - accuracy)
            return np.asarray((2 * share * accuracy / (share + predicted)).mean(axis=0))
        return accuracy


def grid(qualities: Mapping[int, float], models: int) -> dict[Position, float]:
    """Return accuracies of a map in which all models have the same quality at each resolution (pixels)."""
    return {
        (f"model{number}", resolution): value for number in range(models) for resolution, value in qualities.items()
    }
