"""Temperature scaling: one number that makes a network as sure of its answers as it may be (Guo et al. 2017).

All logits are divided by it: above 1 it makes answers less sure. It changes no ranking of the classes.
"""

import numpy as np
from scipy import optimize, special

from resomap.cells import decision
from resomap.cells.predictions import Predictions

COLDEST, HOTTEST = 0.05, 20.0
FOLDS = 5
# Images that are taken to be answered as often right as the network says, beside those seen: a network that answers
# all of a few images right is not made certain of everything.
PSEUDO_IMAGES = 1.0


def tempered(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the log-probabilities float32 [N, classes] at a temperature, of those at 1."""
    # Log-probabilities are logits but for a constant of each image.
    return special.log_softmax(log_probabilities.astype(np.float64) / temperature, axis=1).astype(np.float32)


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which log-probabilities [N, classes] have the least cross-entropy for labels int [N].

    Without images, or where a log-probability is not finite, it is 1.
    """
    logits = log_probabilities.astype(np.float64)
    if len(labels) == 0 or not np.isfinite(logits).all():
        return 1.0
    targets = np.exp(logits) * (PSEUDO_IMAGES / len(labels))
    targets[np.arange(len(labels)), labels] += 1.0

    def loss(log_temperature: float) -> float:
        return -float((targets * special.log_softmax(logits / np.exp(log_temperature), axis=1)).sum())

    # Convex in 1 / temperature, so that there is one minimum.
    found = optimize.minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def cross_fitted(log_probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Return the log-probabilities float32 [N, classes] of each image at the temperature of other images.

    The images fall into five folds by chance, those of a group (`groups` int [N]) into one: what a temperature does on
    the images that it was fitted on says too much.
    """
    _, group = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    count = int(group.max()) + 1 if len(group) else 0
    fold = (np.random.default_rng(0).permutation(count) % FOLDS)[group] if count else group
    found = log_probabilities.astype(np.float32)
    for index in range(FOLDS):
        held, rest = fold == index, fold != index
        if held.any():
            found[held] = tempered(log_probabilities[held], fit_temperature(log_probabilities[rest], labels[rest]))
    return found


def decide(predictions: Predictions) -> decision.Decision:
    """Return how the answers of these weights are read, by their predictions of the validation images."""
    part = predictions.splits["val"]
    return decision.Decision(
        schema=decision.SCHEMA,
        fingerprint=predictions.fingerprint,
        uid=predictions.uid,
        temperature=fit_temperature(part.log_probabilities, np.asarray(part.labels)),
        images=len(part.labels),
    )
