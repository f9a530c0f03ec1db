"""Simulated classifiers of many classes with a known truth: so many images of each class, each with its own recall."""

from dataclasses import dataclass

import numpy as np

from resomap.statistics.quality import Metric
from resomap.statistics.samples import Sample


@dataclass(frozen=True)
class ClassWorld:
    """A classifier that is right on an image of class k with recalls[k], else says any other class alike.

    images: of each class; a sample has just so many (a stratified split), or as many as chance gives (`mixed`).
    """

    images: tuple[int, ...]
    recalls: tuple[float, ...]
    mixed: bool = False

    def draw(self, random: np.random.Generator) -> Sample:
        """Draw the predictions of one training."""
        classes, count = len(self.images), sum(self.images)
        labels = np.repeat(np.arange(classes), self.images)
        if self.mixed:
            labels = random.choice(classes, count, p=np.array(self.images) / count)
        right = random.random(count) < np.array(self.recalls)[labels]
        said = np.where(right, labels, (labels + random.integers(1, classes, count)) % classes)
        return Sample.of_probabilities(labels, np.eye(classes)[said] * 0.8 + 0.2 / classes)

    def truth(self, metric: Metric) -> float:
        """Return the metric on images without end, of the same mix of classes."""
        classes = len(self.images)
        share, recall = np.array(self.images) / sum(self.images), np.array(self.recalls)
        confusion = np.outer(share * (1 - recall) / (classes - 1), np.ones(classes))
        np.fill_diagonal(confusion, share * recall)
        right, said = share * recall, confusion.sum(axis=0)
        return {
            "balanced_accuracy": float(recall.mean()),
            "macro_recall": float(recall.mean()),
            "macro_precision": float((right / said).mean()),
            "macro_f1": float((2 * right / (share + said)).mean()),
        }[metric]

    def __str__(self) -> str:
        counts = list(dict.fromkeys(self.images))
        words = ", ".join(f"{self.images.count(one)} of {one} images" for one in counts)
        dealt = ", mix left to chance" if self.mixed else ""
        return f"classes: {words}; recall {'/'.join(f'{one:g}' for one in dict.fromkeys(self.recalls))}{dealt}"
