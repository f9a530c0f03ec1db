"""Training noise of a cell that folds judged: each image by a training on the others, one value of all of them.

The estimand is the quality of training on (K - 1)/K of such data, on average over data sets and seeds. The value's
variance has the part of the images, as if one training had judged them all, and what trainings add: they differ, and
they share most of their data. No unbiased estimate of that exists (Bengio & Grandvalet 2004, JMLR 5:1089). What the
folds' values scatter beyond their images is taken (K + K / (K - 1)) / K² times, the factor of Nadeau & Bengio 2003
(Machine Learning 52:239), in place of the 1 / K of independent trainings. The same factor on all of the scatter, as it
is proposed there, would count the images twice over and more.

But the scatter hides a part. To first order a value is the mean over images of e + w: what an image is judged as, and
what its presence does to the trainings that see it; images that are hard to judge also teach badly, so the two go
together. Their share h = (2 cov(e, w) + var w) / var e of the images' variance is in the value whatever K is, while the
folds' values differ by e - w / (K - 1), which for the same reason scatters less than the images alone: so
h K / (K - 1) is missing. It is not to be had from the data; HIDDEN was found by simulation with trained models and held
against others (`python -m resomap.statistics folds`).
"""

import numpy as np

from resomap.statistics.groups import Groups
from resomap.statistics.scatter import Scatter, steady_ones

# Of the images' variance, times K / (K - 1): what trainings add that the scatter between folds does not show.
HIDDEN = 0.4
LEAST = 1e-12  # variance that images stand for at least, where a fold's images are all judged alike


def fold_noise(
    influence: np.ndarray, folds: np.ndarray, groups: Groups, image_variances: np.ndarray, scale: np.ndarray
) -> Scatter | None:
    """Return the variance that trainings add to the cells' values; None where one fold judged all: it is not known.

    influence [K, N] is that of each image on the cells' values (means over seeds); folds int [N]; image_variances [K]
    those of the values under a change of images; scale [K] > 0, on average 1: how noise is shared out over the cells.
    """
    numbers = np.unique(folds)
    count = len(numbers)
    if count < 2:
        return None
    inside = [folds == number for number in numbers]
    freedom = count - 1
    means, by_images = _of_folds(influence, inside, groups)
    observed, expected = means.var(axis=1, ddof=1), by_images.mean(axis=1)
    steady = steady_ones(observed, np.full(len(influence), freedom), np.maximum(expected, LEAST), scale)
    # What is hard in a fold is hard for all cells. It tells nothing of trainings, and is taken out where there are two.
    together = int(steady.sum())
    if together > 1:
        apart = (influence - influence[steady].mean(axis=0)) * np.sqrt(together / (together - 1))
        means, by_images = _of_folds(apart, inside, groups)
        observed, expected = means.var(axis=1, ddof=1), by_images.mean(axis=1)
    training = max(0.0, float(((observed - expected) / scale)[steady].mean()))
    # A cell one of whose trainings collapsed keeps its own, and has no part in that of all.
    excess = np.where(steady, training * scale, np.maximum(observed - expected, training * scale))
    factor = 1 / count + 1 / freedom
    # The least keeps the share of training noise defined where a cell is right on every image.
    between = factor * excess + HIDDEN * count / freedom * np.maximum(image_variances, LEAST)
    speaking = freedom * max(1.0, together - 1.0)
    return Scatter(between, np.full(len(between), speaking), np.zeros(len(between), dtype=int), factor * training)


def _of_folds(influence: np.ndarray, inside: list[np.ndarray], groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean influence [K, folds] of each fold's images, and its variance by these images alone."""
    means, variances = [], []
    for chosen in inside:
        own, images = influence[:, chosen], int(chosen.sum())
        mean = own.mean(axis=1, keepdims=True)
        part = Groups.of(groups.of_image[chosen], images)
        sums = part.sums(own - mean) if not part.are_images else (own - mean) * np.sqrt(images / max(1, images - 1))
        means.append(mean[:, 0])
        variances.append((sums**2).sum(axis=1) / images**2)
    return np.stack(means, axis=1), np.stack(variances, axis=1)
