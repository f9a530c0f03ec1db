"""Calibration: whether a model is right as often as its confidence says, and by how much it is not.

The expected calibration error over bins (Guo et al. 2017) is biased upwards: noise in each bin adds to it, so that a
calibrated model shows an error of 0.03 to 0.05 on 400 images, and a bootstrap around that excludes the truth. Kumar,
Liang & Ma 2019 take the noise off its square, but a test by bins sees a temperature of 1.5 on 400 images in 40 to 80 %
of cases only. Here the bins are replaced by a curve of two numbers, Cox's logistic recalibration (1958, Biometrika 45):
logit(right) = logit(confidence) + shift + slope x logit(confidence), whose likelihood ratio against no shift and no
slope is chi-squared where the model is calibrated, non-central where it is not, and is inverted for estimate and
interval. The error is the mean distance of that curve to the confidence, over the images.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from resomap.core.log_probabilities import class_margins
from resomap.statistics.recalibration import CONFIDENCE, LARGEST, RecalibrationCurve

BINS, DRAWS = 15, 2000


@dataclass(frozen=True)
class Calibration:
    """Calibration error of one trained model (0..1), without the bias of noise, with its 95 % interval.

    `low` is 0 where the model may well be calibrated. `binned` is the error over 15 bins, and `binned_if_calibrated`
    what 95 % of calibrated models with these confidences would show at most.
    """

    error: float
    low: float
    high: float
    binned: float
    binned_if_calibrated: float

    @property
    def is_uncalibrated(self) -> bool:
        """True if chance does not explain that confidences and shares of right answers differ."""
        return self.low > 0


def calibration(
    log_probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None
) -> Calibration | None:
    """Return the calibration of log-probabilities [N, classes] for labels int [N]; None where it cannot be told.

    It cannot where a log-probability is not finite, without images, and with fewer than three groups.

    `groups` int [N] names what images belong together, such as a patient: the deviations of a group's images are
    summed before variances are formed (Rao & Scott 1984), and quantiles are those of so many groups.
    """
    if len(labels) == 0 or log_probabilities.shape[1] < 2 or not np.isfinite(log_probabilities).all():
        return None
    if groups is not None and len(np.unique(groups)) < 3:
        return None
    predicted = log_probabilities.argmax(axis=1)
    logits = np.clip(class_margins(log_probabilities)[np.arange(len(labels)), predicted], -LARGEST, LARGEST)
    right = (predicted == labels).astype(float)
    curve = RecalibrationCurve(logits, right, groups)
    low, high = curve.limits()
    error = float(np.clip(curve.error(curve.typical), low, high))
    return Calibration(error, low, high, *_binned(special.expit(logits), right))


def _binned(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Return the error over 15 bins, and what 95 % of calibrated models would show at most."""
    bin_of = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    images = np.bincount(bin_of, minlength=BINS)
    said = np.bincount(bin_of, weights=confidence, minlength=BINS)
    hits = np.bincount(bin_of, weights=right, minlength=BINS)
    drawn = np.random.default_rng(0).binomial(images, said / np.maximum(images, 1), size=(DRAWS, BINS))
    shown = np.abs(drawn - said).sum(axis=1) / len(right)
    return float(np.abs(hits - said).sum() / len(right)), float(np.quantile(shown, CONFIDENCE))
