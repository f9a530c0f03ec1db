"""Quality of predictions, by scikit-learn. A new metric is one more line in `measure`."""

import math

import numpy as np
from sklearn import metrics


def measure(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float | None]:
    """Metrics of probabilities [N, classes] (rows sum to 1) against labels int [N]; undefined ones are None.

    Loss is cross-entropy in nats. Balanced accuracy is the mean recall over the classes that occur; macro figures
    are means over all classes; AUROC with more than two classes is one-vs-rest, macro.
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    # Softmax in float32 sums to 1 within its own rounding; the loss is taken in double precision.
    shares = probabilities.astype(np.float64) / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), average="macro", zero_division=0.0
    )
    found = {
        "loss": metrics.log_loss(labels, shares, labels=range(classes)),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.recall_score(
            labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
        ),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "auroc": _auroc(shares, labels),
    }
    return {name: None if value is None or not math.isfinite(value) else float(value) for name, value in found.items()}


def _auroc(shares: np.ndarray, labels: np.ndarray) -> float | None:
    classes = shares.shape[1]
    if len(np.unique(labels)) < classes:
        return None  # a class without images has no ROC curve
    if classes == 2:
        return float(metrics.roc_auc_score(labels, shares[:, 1]))
    return float(metrics.roc_auc_score(labels, shares, multi_class="ovr", average="macro"))
