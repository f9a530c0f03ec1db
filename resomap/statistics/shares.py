"""Interval of one share of images, such as a sensitivity, where images of one group stand or fall together."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

from resomap.statistics.groups import Groups
from resomap.statistics.repeated_looks import CONFIDENCE

Numbers: TypeAlias = float | np.ndarray


@dataclass(frozen=True)
class Share:
    """A share of images (0..1) with its 95 % interval; `images` is the number that it is a share of."""

    value: float
    low: float
    high: float
    images: int


def share(hits: np.ndarray, groups: np.ndarray | None = None) -> Share | None:
    """Return the share of True in hits bool [n], images of one number in `groups` int [n] counting together.

    Wilson's score interval (1927) with as many images as would give the variance that groups have (Korn & Graubard
    1998), and Student's quantile for the number of groups. None without images.
    """
    images = len(hits)
    if images == 0:
        return None
    value = float(hits.mean())
    low, high = wilson(value, *effective_count(hits, groups))
    return Share(value, float(low), float(high), images)


def effective_count(hits: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    """Return how many independent images give the same variance as hits bool [n], and the critical value of 95 %."""
    images, level = len(hits), (1 + CONFIDENCE) / 2
    found = Groups.of(groups, images)
    if found.are_images:
        return float(images), float(stats.norm.ppf(level))
    value, grain = float(hits.mean()), 1 / images**2
    variance = float((found.sums(hits - value) ** 2).sum()) / images**2
    # Where no image of a group was judged otherwise than the rest, groups count by their sizes alone.
    design = (variance + found.design_effect() * grain) / (value * (1 - value) / images + grain)
    freedom = max(1.0, found.effective(np.ones(images, dtype=bool)) - 1)
    return images / max(1.0, design), float(stats.t.ppf(level, freedom))


def wilson(value: Numbers, count: Numbers, critical: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's limits of shares of `count` images at a critical value, which always enclose the share.

    Each may be a number or an array [P].
    """
    square = np.asarray(critical) ** 2 / count
    centre = (value + square / 2) / (1 + square)
    half = np.sqrt(square * (value * (1 - value) + square / 4)) / (1 + square)
    return np.minimum(value, centre - half).clip(0), np.maximum(value, centre + half).clip(max=1)
