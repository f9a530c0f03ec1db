"""Small real trainings on data sets that are drawn anew: worlds in which folds and seeds can be held against the truth.

A study is a data set of points in two classes, and cells that learn it. In the world by which `fold_noise` was found
each training sees a bootstrap sample of its images that its seed draws, so that trainings of one cell scatter as those
of networks do; the learners of the others train on their images as they are. Truth is what a cell reaches on average
over data sets of the size that it trains on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special
from sklearn.base import ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from resomap.statistics.samples import Position, Sample

FEATURES = 10
TEST = 300  # fresh images that a trained model is measured on, for the truth
SPLIT = 0.7 / 0.85  # share of the images outside test that train, with one split
Points = tuple[np.ndarray, np.ndarray]
"""Features [N, FEATURES] and labels int [N]."""
Learner = Callable[[Points, np.ndarray, np.random.Generator], np.ndarray]
"""Trains on points and returns the probability [M] of the second class of other features [M, FEATURES]."""


def draw_bent(count: int, random: np.random.Generator) -> Points:
    """Draw points of two classes, whose boundary bends, with labels that are wrong now and then."""
    features = random.standard_normal((count, FEATURES))
    score = 1.6 * features[:, 0] + features[:, 1] + 0.9 * features[:, 2] * features[:, 3]
    return features, (random.random(count) < special.expit(2.5 * score)).astype(int)


def draw_clusters(count: int, random: np.random.Generator) -> Points:
    """Draw points about ten centres, four of which are the second class; three labels of a hundred are wrong."""
    number = random.integers(len(_CENTRES), size=count)
    features = random.standard_normal((count, FEATURES))
    features[:, : _CENTRES.shape[1]] += _CENTRES[number]
    return features, ((number % 3 == 0) ^ (random.random(count) < 0.03)).astype(int)


def draw_apart(count: int, random: np.random.Generator) -> Points:
    """Draw points of two classes that lie far apart, so that most learners are nearly always right."""
    labels = random.integers(2, size=count)
    features = random.standard_normal((count, FEATURES))
    features[:, :4] += 1.15 * (2 * labels[:, None] - 1)
    return features, labels


_CENTRES = 1.6 * np.random.default_rng(99).standard_normal((10, 5))


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


def _nearest(neighbours: int, points: Points, others: np.ndarray, _random: np.random.Generator) -> np.ndarray:
    apart = (points[0] ** 2).sum(axis=1) - 2 * others @ points[0].T
    near = np.argpartition(apart, neighbours - 1, axis=1)[:, :neighbours]
    return np.asarray(points[1][near].mean(axis=1))


def _fitted(
    made: Callable[[], ClassifierMixin], points: Points, others: np.ndarray, _random: np.random.Generator
) -> np.ndarray:
    """Train a classifier of scikit-learn; what it says is taken for certain."""
    return np.where(made().fit(*points).predict(others) == 1, 0.8, 0.2)


@dataclass(frozen=True)
class World:
    """Points that are drawn, and cells that learn them: on a bootstrap sample each where it `resamples`."""

    draw: Callable[[int, np.random.Generator], Points]
    learners: Mapping[Position, Learner]
    resamples: bool


_OTHERS: Mapping[Position, Learner] = {
    ("nearest", 1): partial(_nearest, 1),
    ("nearest", 15): partial(_nearest, 15),
    ("gaussian", 1): partial(_fitted, GaussianNB),
    ("gaussian", 2): partial(_fitted, LinearDiscriminantAnalysis),
    ("kernel", 10): partial(_fitted, partial(SVC, C=10.0)),
    ("tree", 6): partial(_fitted, partial(DecisionTreeClassifier, max_depth=6, random_state=0)),
}
BENT = World(
    draw_bent,
    {
        ("linear", 2): partial(_linear, 2),
        ("linear", 10): partial(_linear, 10),
        ("tree", 3): partial(_tree, 3),
        ("tree", 10): partial(_tree, 10),
        ("network", 20): partial(_random_features, 20),
        ("network", 60): partial(_random_features, 60),
    },
    resamples=True,
)
"""World by which the constants of `fold_noise` were found."""
FURTHER: Mapping[str, World] = {
    "other learners": World(draw_bent, _OTHERS, resamples=False),
    "clusters": World(draw_clusters, _OTHERS, resamples=False),
    "nearly always right": World(draw_apart, _OTHERS, resamples=False),
}
"""Worlds that had no say in them."""


@dataclass(frozen=True)
class Study:
    """Trainings of one data set: each cell's as the statistics take them, and what each reached on fresh images."""

    samples: Mapping[Position, list[Sample]]
    reached: Mapping[Position, list[float]]  # accuracy on TEST fresh images


@threadpool_limits.wrap(limits=1)  # for so few images several cores would wait for each other
def by_folds(images: int, folds: int, seed: int, world: World = BENT) -> Study:
    """Draw a data set, train each cell once for each fold, and pool what the folds' trainings say of their images."""
    random = np.random.default_rng([seed, images, folds])
    features, labels = world.draw(images, random)
    fold_of = np.empty(images, dtype=int)
    for label in (0, 1):
        own = random.permutation(np.flatnonzero(labels == label))
        fold_of[own] = np.arange(len(own)) % folds
    fresh = world.draw(TEST, random)
    samples, reached = {}, {}
    for cell, learner in world.learners.items():
        judged, values = np.empty(images), []
        for fold in range(folds):
            inside = fold_of == fold
            seen = features[~inside], labels[~inside]
            found, value = _trained(learner, seen, features[inside], fresh, random if world.resamples else None)
            judged[inside] = found
            values.append(value)
        samples[cell] = [_sample(labels, judged, fold_of)]
        reached[cell] = values
    return Study(samples, reached)


@threadpool_limits.wrap(limits=1)  # for so few images several cores would wait for each other
def by_seeds(images: int, seeds: int, seed: int) -> Study:
    """Draw a data set, split it once, and train each cell with so many seeds."""
    random = np.random.default_rng([seed, images, seeds])
    features, labels = BENT.draw(images, random)
    count = round(SPLIT * images)
    fresh = BENT.draw(TEST, random)
    samples, reached = {}, {}
    for cell, learner in BENT.learners.items():
        found = [
            _trained(learner, (features[:count], labels[:count]), features[count:], fresh, random) for _ in range(seeds)
        ]
        samples[cell] = [_sample(labels[count:], judged, None) for judged, _ in found]
        reached[cell] = [value for _, value in found]
    return Study(samples, reached)


def _trained(
    learner: Learner, points: Points, judged: np.ndarray, fresh: Points, random: np.random.Generator | None
) -> tuple[np.ndarray, float]:
    """Train, on a bootstrap sample if `random` draws one; return the probabilities of the images to judge, and the
    accuracy on fresh ones.
    """
    if random is not None:
        drawn = random.integers(len(points[1]), size=len(points[1]))
        points = points[0][drawn], points[1][drawn]
    found = learner(points, np.r_[judged, fresh[0]], random or np.random.default_rng(0))
    return found[: len(judged)], float(np.mean((found[len(judged) :] > 0.5) == fresh[1]))


def _sample(labels: np.ndarray, judged: np.ndarray, folds: np.ndarray | None) -> Sample:
    inside = np.clip(judged, 1e-6, 1 - 1e-6)
    return Sample(labels, np.log(np.stack([1 - inside, inside], axis=1)), folds=folds)
