"""Simulated scores of one class against the rest, with a known truth, to measure what operating points promise."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from resomap.compute.thresholds import OneVsRest, share_at
from resomap.statistics.operating_point import Scores
from resomap.statistics.ranking import average_precision
from resomap.statistics.samples import Sample

ENOUGH = 400_000  # images, for a truth to three digits
DISTANCE = 1.5  # between the classes' scores, in their standard deviations


@dataclass(frozen=True)
class Scored:
    """A world of two classes' scores: their shape, the images, and how many of one group are alike.

    `kind`: binormal, heavy tails (Student's with 3 degrees of freedom), skewed (gamma), or some missed (a fifth of the
    positives, or of their groups, scores like negatives). is_mixed: the class of an image, or of a group, is drawn too.
    group_size images, all of one class, share the part `within` of the variance of their scores.
    """

    kind: str
    positives: int
    negatives: int
    is_mixed: bool = False
    group_size: int = 1
    within: float = 0.0

    def draw(self, random: np.random.Generator) -> Sample:
        """Draw the predictions of one training."""
        images, size = self.positives + self.negatives, self.group_size
        drawn = max(1, int(random.binomial(images // size, self.positives / images))) * size
        positives = drawn if self.is_mixed else self.positives
        return self._sample(random, images - positives, positives)

    def truth(self, wanted: OneVsRest) -> float:
        """Return the metric on images without end, at the threshold that holds the wanted share of them exactly."""
        share = self.positives / (self.positives + self.negatives)
        single = Scored(self.kind, round(share * ENOUGH), round((1 - share) * ENOUGH))
        sample = single.draw(np.random.default_rng(1))
        if not wanted.needs_threshold:
            judged = average_precision(sample, wanted.positive)
            assert judged is not None
            return judged.value
        scores = Scores.of(sample, wanted.positive)
        threshold = scores.threshold(wanted)
        assert threshold is not None
        found = share_at(scores.called(threshold), scores.is_positive, wanted.metric)  # type: ignore[arg-type]
        assert found is not None
        return found

    def _sample(self, random: np.random.Generator, negatives: int, positives: int) -> Sample:
        labels = np.repeat([0, 1], [negatives, positives])
        of_class = np.concatenate([np.arange(negatives), np.arange(positives)]) // self.group_size
        groups = np.unique(np.stack([labels, of_class]), axis=1, return_inverse=True)[1].ravel()
        alike = random.standard_normal(groups.max() + 1)[groups]
        normal = np.sqrt(self.within) * alike + np.sqrt(1 - self.within) * random.standard_normal(len(labels))
        is_missed = (random.random(groups.max() + 1) < 0.2)[groups]
        odds = self._odds(normal, labels == 1, is_missed)
        logs = -np.logaddexp(0, np.stack([odds, -odds], axis=1))
        return Sample(labels, logs, groups if self.group_size > 1 else None)

    def _odds(self, normal: np.ndarray, is_positive: np.ndarray, is_missed: np.ndarray) -> np.ndarray:
        if self.kind == "heavy tails":
            return np.asarray(stats.t.ppf(stats.norm.cdf(normal), 3) + DISTANCE * is_positive)
        if self.kind == "skewed":
            uniform = stats.norm.cdf(normal)
            return np.where(is_positive, stats.gamma.ppf(uniform, 4), stats.gamma.ppf(uniform, 1))
        if self.kind == "some missed":
            return np.asarray(normal + 2 * DISTANCE * (is_positive & ~is_missed))
        return np.asarray(normal + DISTANCE * is_positive)
