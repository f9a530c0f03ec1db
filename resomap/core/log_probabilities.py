"""Log-probabilities of a classifier: what predictions are kept as, and what ranks images without ties.

A softmax in float32 is exactly 1 once the logits are 17 apart, and 0 once they are 104 apart: its images tie, and its
losses end at a clipped value. Logarithms go on.
"""

import numpy as np

# Smallest number above 0 in float32: what a stored probability of 0 is at most.
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def log_probabilities_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the log-probabilities float32 [N, classes] of probabilities [N, classes] (rows sum to 1).

    A probability of 0, as saturated ones are stored, becomes the smallest that float32 tells from 0.
    """
    shares = probabilities.astype(np.float64)
    # Softmax in float32 sums to 1 within its own rounding.
    shares /= shares.sum(axis=1, keepdims=True)
    return np.log(np.maximum(shares, SMALLEST)).astype(np.float32)


def class_margins(log_probabilities: np.ndarray) -> np.ndarray:
    """Return each class's margin over all others, float64 [N, classes], of log-probabilities [N, classes].

    The margin of class k is log p_k minus the log of the others' sum. It ranks images as p_k does, and goes on where
    p_k rounds to 1; with two classes the margins are the differences of the logits, equal but for their sign.
    """
    logs = log_probabilities.astype(np.float64)
    rows = np.arange(len(logs))
    if logs.shape[1] == 2:
        return logs - logs[:, ::-1]
    top = logs.argmax(axis=1)
    others = logs.copy()
    others[rows, top] = -np.inf
    # Only the likeliest class can be so near 1 that 1 - p is lost.
    with np.errstate(divide="ignore"):
        margins = logs - np.log1p(-np.minimum(np.exp(others), 1.0))
    margins[rows, top] = logs[rows, top] - np.logaddexp.reduce(others, axis=1)
    return np.asarray(margins)
