"""Learning rate as a pure function of the step: no scheduler state that a resume could lose."""

import math

from resomap.config import Training
from resomap.config.schema import WARMUP_SHARE


def learning_rate(step: int, steps_per_epoch: int, recipe: Training) -> float:
    """Learning rate at an optimizer step (counted from 0 over the whole training).

    Rises linearly from 0 during warm-up (Goyal et al. 2017), then follows the schedule down to
    `min_learning_rate` at the last step; cosine as in Loshchilov and Hutter 2017 (SGDR, without restarts).
    A warm-up of more than WARMUP_SHARE of the training is cut to that: else a short one would end at its highest rate.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), math.floor(total * WARMUP_SHARE), total - 1)
    highest = recipe.highest_rate
    lowest = min(recipe.min_learning_rate, highest)
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total - 1 - warmup)
    if recipe.schedule == "cosine":
        return lowest + (highest - lowest) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    if recipe.schedule == "linear":
        return highest + (lowest - highest) * min(1.0, progress)
    return highest
