"""Small real trainings on data sets that are drawn anew: worlds in which folds and seeds can be held against the truth.

A study is a data set of points in two classes, and cells that learn it: logistic regressions, trees, and networks of
random features. Each training sees a bootstrap sample of its images that its seed draws, so that trainings of one cell
scatter as those of networks do. Truth is what a cell reaches on average over data sets of the size that it trains on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from resomap.statistics.samples import Position, Sample

FEATURES = 10
TEST = 4000  # fresh images that a trained model is measured on, for the truth
SPLIT = 0.7 / 0.85  # share of the images outside test that train, with one split
Points = tuple[np.ndarray, np.ndarray]
"""Features [N, FEATURES] and labels int [N]."""
Learner = Callable[[Points, np.ndarray, np.random.Generator], np.ndarray]
"""Trains on points and returns the probability [M] of the second class of other features [M, FEATURES]."""


def draw_points(count: int, random: np.random.Generator) -> Points:
    """Draw points of two classes, whose boundary bends, with labels that are wrong now and then."""
    features = random.standard_normal((count, FEATURES))
    score = 1.6 * features[:, 0] + features[:, 1] + 0.9 * features[:, 2] * features[:, 3]
    return features, (random.random(count) < special.expit(2.5 * score)).astype(int)


def _linear(kept: int, points: Points, others: np.ndarray, _random: np.random.Generator) -> np.ndarray:
    features, labels = points
    fitted = LogisticRegression(C=1.0).fit(features[:, :kept], labels)
    return np.asarray(fitted.predict_proba(others[:, :kept])[:, 1])


def _tree(depth: int, points: Points, others: np.ndarray, random: np.random.Generator) -> np.ndarray:
    seed = int(random.integers(2**31))
    fitted = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=2, random_state=seed).fit(*points)
    return np.asarray(fitted.predict_proba(others)[:, 1])


def _random_features(width: int, points: Points, others: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Train the last layer of a network of random features (Rahimi & Recht 2007) by ridge regression."""
    weights = random.standard_normal((FEATURES + 1, width)) / np.sqrt(3)
    hidden, other = (np.maximum(0, np.c_[part, np.ones(len(part))] @ weights) for part in (points[0], others))
    solved = np.linalg.solve(hidden.T @ hidden + width / 20 * np.eye(width), hidden.T @ (2.0 * points[1] - 1))
    return np.asarray(special.expit(4 * (other @ solved)))


LEARNERS: Mapping[Position, Learner] = {
    ("linear", 2): partial(_linear, 2),
    ("linear", 10): partial(_linear, 10),
    ("tree", 3): partial(_tree, 3),
    ("tree", 10): partial(_tree, 10),
    ("network", 20): partial(_random_features, 20),
    ("network", 60): partial(_random_features, 60),
}


@dataclass(frozen=True)
class Study:
    """Trainings of one data set: each cell's as the statistics take them, and what each reached on fresh images."""

    samples: Mapping[Position, list[Sample]]
    reached: Mapping[Position, list[float]]  # accuracy on TEST fresh images


def by_folds(images: int, folds: int, seed: int) -> Study:
    """Draw a data set, train each cell once for each fold, and pool what the folds' trainings say of their images."""
    random = np.random.default_rng([seed, images, folds])
    features, labels = draw_points(images, random)
    fold_of = np.empty(images, dtype=int)
    for label in (0, 1):
        own = random.permutation(np.flatnonzero(labels == label))
        fold_of[own] = np.arange(len(own)) % folds
    fresh = draw_points(TEST, random)
    samples, reached = {}, {}
    for cell, learner in LEARNERS.items():
        judged, values = np.empty(images), []
        for fold in range(folds):
            inside = fold_of == fold
            found, value = _trained(learner, (features[~inside], labels[~inside]), features[inside], fresh, random)
            judged[inside] = found
            values.append(value)
        samples[cell] = [_sample(labels, judged, fold_of)]
        reached[cell] = values
    return Study(samples, reached)


def by_seeds(images: int, seeds: int, seed: int) -> Study:
    """Draw a data set, split it once, and train each cell with so many seeds."""
    random = np.random.default_rng([seed, images, seeds])
    features, labels = draw_points(images, random)
    count = round(SPLIT * images)
    fresh = draw_points(TEST, random)
    samples, reached = {}, {}
    for cell, learner in LEARNERS.items():
        found = [
            _trained(learner, (features[:count], labels[:count]), features[count:], fresh, random) for _ in range(seeds)
        ]
        samples[cell] = [_sample(labels[count:], judged, None) for judged, _ in found]
        reached[cell] = [value for _, value in found]
    return Study(samples, reached)


def _trained(
    learner: Learner, points: Points, judged: np.ndarray, fresh: Points, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Train on a bootstrap sample; return the probabilities of the images to judge, and the accuracy on fresh ones.

    On one core: for so few images several would wait for each other.
    """
    drawn = random.integers(len(points[1]), size=len(points[1]))
    with threadpool_limits(1):
        found = learner((points[0][drawn], points[1][drawn]), np.r_[judged, fresh[0]], random)
    return found[: len(judged)], float(np.mean((found[len(judged) :] > 0.5) == fresh[1]))


def _sample(labels: np.ndarray, judged: np.ndarray, folds: np.ndarray | None) -> Sample:
    inside = np.clip(judged, 1e-6, 1 - 1e-6)
    return Sample(labels, np.log(np.stack([1 - inside, inside], axis=1)), folds=folds)
