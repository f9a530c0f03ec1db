"""Images whose label is probably wrong, by confident learning (Northcutt et al. 2021, JAIR 70) of the library cleanlab.

An image counts as a suspect where the classes that networks are confident of, each by its own threshold, say another
one than its label. The probabilities must be of networks that did not learn from the image.
"""

from dataclasses import dataclass

import numpy as np

_LEAST_IMAGES = 20  # fewer tell nothing about the errors of a class


@dataclass(frozen=True)
class Suspects:
    """Images that stand out, the worst first.

    order: indices of the suspects. quality: float [N] of all images, 0 to 1: the share that their own label gets
    against the likeliest other (`normalized margin`).
    """

    order: np.ndarray
    quality: np.ndarray


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> Suspects | None:
    """Return the suspects among images with `labels` int [N], by probabilities float [N, classes] out of sample.

    None with too few images, or of one class alone. The same input gives the same answer.
    """
    if len(labels) < _LEAST_IMAGES or len(np.unique(labels)) < 2:
        return None
    # Imported here: two seconds, which only the report pays.
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_normalized_margin_for_each_label

    # Classes that no image has would be taken for errors of the input.
    present, own = np.unique(labels, return_inverse=True)
    shares = probabilities[:, present].astype(np.float64)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    quality = get_normalized_margin_for_each_label(own, shares)
    chosen = np.flatnonzero(find_label_issues(own, shares, n_jobs=1))
    return Suspects(chosen[np.lexsort((chosen, quality[chosen]))], quality)
