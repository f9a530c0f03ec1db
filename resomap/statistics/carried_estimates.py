"""Intervals of cells on test at thresholds chosen on validation: over images of both splits, and over seeds."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from resomap.compute.thresholds import OneVsRest
from resomap.statistics.carried import carried_influence, carry
from resomap.statistics.groups import Groups
from resomap.statistics.interval_estimates import Interval, combine, intervals
from resomap.statistics.quality import Quality
from resomap.statistics.samples import Position, Sample, Trainings, require_shared_images


def carried_intervals(
    validation: Mapping[Position, Trainings], test: Mapping[Position, Trainings], wanted: OneVsRest
) -> dict[Position, Interval]:
    """Return the 95 % interval of each cell's operating point on test; cells in which it is undefined are left out.

    The samples of both splits are of the same cells and seeds, in the same order. The images of both make up the
    variance: those of test are counted, those of validation chose the threshold.
    """
    labels = np.concatenate([require_shared_images(validation), require_shared_images(test)])
    found: dict[Position, list[Quality]] = {}
    for position, trainings in test.items():
        pairs = zip(validation[position], trainings, strict=True)
        judged = [carried_influence(chosen, counted, wanted) for chosen, counted in pairs]
        qualities = [Quality(one.value, one.influence, float(one.counted), one.counted**-2) for one in judged if one]
        if len(qualities) == len(judged):
            found[position] = qualities
    if not found:
        return {}
    position = next(iter(test))
    estimates = combine(wanted, found, (), labels, _groups(validation[position][0], test[position][0]))
    made = intervals(estimates)
    for one, interval in made.items():
        if len(test[one]) == 1 and not interval.includes_training_noise:
            alone = carry(validation[one][0], test[one][0], wanted)  # which needs no slope
            if alone is not None:
                made[one] = replace(interval, low=alone.value.low, high=alone.value.high)
    return made


def _groups(validation: Sample, test: Sample) -> Groups:
    """Return the groups of the images of both splits; no group has images in two splits."""
    parts = [np.arange(len(one.labels)) if one.groups is None else one.groups for one in (validation, test)]
    return Groups.of(np.concatenate([parts[0], parts[1] + parts[0].max() + 1 - parts[1].min()]), sum(map(len, parts)))
