"""Average precision: how well a model ranks one class before all others, where that class is rare.

The mean over the positives of the precision at the threshold that just calls each of them (Davis & Goadrich 2006;
scikit-learn's `average_precision_score`), without interpolation.
"""

import numpy as np

from resomap.statistics.groups import unbiased
from resomap.statistics.operating_point import Judged, Scores
from resomap.statistics.samples import Sample


def average_precision(sample: Sample, positive: int) -> Judged | None:
    """Return the average precision of one class against all others; None without images of the class.

    The influence is that of the functional: an image adds its own precision, where it is positive, and changes the
    precision at every threshold below its score.
    """
    scores = Scores.of(sample, positive)
    positives = int(scores.is_positive.sum())
    if positives == 0:
        return None
    levels, place = np.unique(-scores.odds, return_inverse=True)  # from the highest score down, ties together
    of_positives = np.bincount(place, weights=scores.is_positive, minlength=len(levels))
    called = np.cumsum(np.bincount(place, minlength=len(levels)))
    precision = np.cumsum(of_positives) / called
    value = float(of_positives @ precision) / positives
    images = len(scores.odds)
    # At each level: what one more positive, or negative, at or above it changes the sum over positives by.
    gained = _from_below(of_positives * (1 - precision) / called)[place]
    lost = _from_below(of_positives * precision / called)[place]
    influence = np.where(scores.is_positive, precision[place] - value + gained, -lost) * images / positives
    return Judged(value, (influence - influence.mean()) * unbiased(positives), positives)


def _from_below(values: np.ndarray) -> np.ndarray:
    """Return the sums of each value [levels] and all after it."""
    return np.asarray(values[::-1].cumsum()[::-1])
