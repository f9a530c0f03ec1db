"""Images of an explanation: test images on which resolution changes the answer most, or images of one's own."""

from collections.abc import Sequence

import numpy as np

from resomap.cells.predictions import SplitPredictions


def telling_images(parts: Sequence[SplitPredictions], count: int) -> list[int]:
    """Return the places of test images, by the predictions of a model from its lowest resolution to its highest.

    Half of them are those whose true class gains most probability from the lowest to the highest, half those that lose
    most; of one resolution alone they are spread over all images.
    """
    images = len(parts[0].labels)
    count = min(count, images)
    if len(parts) < 2:
        return np.unique(np.linspace(0, images - 1, count).astype(int)).tolist()
    low, high = (part.probabilities[np.arange(images), part.labels] for part in (parts[0], parts[-1]))
    order = np.argsort(low - high, kind="stable")  # gained most first
    gained = (count + 1) // 2
    return [*order[:gained].tolist(), *order[::-1][: count - gained].tolist()]
