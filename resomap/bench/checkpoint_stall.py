"""Time that checkpoints cost a training: whole trainings, in turn without and with them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.bench.test_images import prepare_study
from resomap.bench.train_process import Trained, train_once
from resomap.cells.study import Study
from resomap.config import Config
from resomap.core.errors import ResomapError

NEVER = 1e6  # minutes
SAVES = 4  # in a training
SHORTEST = 1.0  # seconds of a training that is long enough to tell what saves cost it


@dataclass(frozen=True)
class Stall:
    """Time that saves cost a training, pair by pair."""

    a_save: list[float]  # seconds that one save makes the training longer; noise can make it negative
    saves: list[int]  # in each training

    def shares(self) -> list[float]:
        """Return the share of the training time, where it is saved as often as is the default."""
        interval = 60 * Config().checkpoints.every_minutes
        return [seconds / interval for seconds in self.a_save]


def checkpoint_stall(
    directory: Path,
    config: dict[str, Any],
    repeats: int,
    every_minutes: float | None = None,
    threads: int = 2,
    prepare: Callable[[Path, dict[str, Any]], Study] = prepare_study,
) -> Stall:
    """Train the first cell of a configuration again and again, in `directory`/plain-<repeat> and /saving-<repeat>.

    It is saved `every_minutes`; or else it has as many more epochs as make it SHORTEST long, and is saved as often as
    makes SAVES saves. `prepare` makes the study of a configuration in a directory. Raises ResomapError where a training
    was over before its first save.
    """
    recipe = dict(config["training"])

    def train(name: str, minutes: float) -> Trained:
        checkpoints = {"every_minutes": minutes, "keep": ["best", "last"]}
        study = prepare(directory / name, {**config, "training": recipe, "checkpoints": checkpoints})
        return train_once(study, directory / name, threads)

    often = every_minutes
    while often is None:
        epochs = recipe["epochs"]
        seconds = train(f"{epochs}-epochs", NEVER).seconds
        if seconds < SHORTEST:
            recipe["epochs"] = epochs * max(2, math.ceil(SHORTEST / seconds))
        else:
            often = seconds / 60 / (SAVES + 0.5)
    found, counts = [], []
    for repeat in range(repeats):
        order = [("plain", NEVER), ("saving", often)]
        done = {name: train(f"{name}-{repeat}", minutes) for name, minutes in (order, order[::-1])[repeat % 2]}
        plain, saving = done["plain"], done["saving"]
        if not saving.saves:
            raise ResomapError("the training was over before its first save: it takes more epochs, or more images")
        found.append((saving.seconds - plain.seconds) / saving.saves)
        counts.append(saving.saves)
    return Stall(found, counts)
