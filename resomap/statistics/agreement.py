"""Quadratic kappa: agreement of predicted and true grades beyond chance, far misses counting by their square.

For classes that are ordered, such as grades of a disease; the order is that of the class names.
"""

from resomap.statistics.groups import unbiased
from resomap.statistics.operating_point import Judged
from resomap.statistics.samples import Sample

LOWEST = -1.0  # kappa of grades that are all turned about; 0 is chance


def quadratic_kappa(sample: Sample) -> Judged | None:
    """Return Cohen's kappa with quadratic weights (Cohen 1968), -1..1; None where all grades are one and the same.

    1 - D / E, with D the mean squared distance of predicted and true grade, and E that of grades paired at random
    with the same margins. The influence is the derivative of the ratio (Fleiss, Cohen & Everitt 1969).
    """
    true, predicted = sample.labels.astype(float), sample.log_probabilities.argmax(axis=1).astype(float)
    images = len(true)
    apart = (true - predicted) ** 2
    means = true.mean(), predicted.mean()
    by_chance = true**2 + predicted**2 - 2 * (true * means[1] + predicted * means[0] - means[0] * means[1])
    distance, expected = float(apart.mean()), float(by_chance.mean())
    if expected <= 0:
        return None
    # `by_chance` changes by its own deviation: each margin once in the squares and once in the product of the means.
    value = 1 - distance / expected
    influence = -(apart - distance) / expected + distance / expected**2 * (by_chance - expected)
    return Judged(value, influence * unbiased(images), images)
