"""Forecast of the disk space that a grid needs, checked before it starts."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.models.fits import sizes
from resomap.planning.image_files import store_file

# last.pt in units of the weights: model, two moments of the optimizer (AdamW; SGD has one), best weights so far.
STATE_COPIES = 4
# While a training runs: last.pt, previous.pt, and the temporary file of the next save.
FILES_IN_TRAINING = 3


@dataclass(frozen=True)
class DiskForecast:
    """Upper bounds in bytes: of files that stay, of files of running trainings, and of the prepared images."""

    kept: int
    in_training: int
    images: int
    needs_images: bool  # false: where they do not fit, they are decoded at each access

    @property
    def total(self) -> int:
        """Bytes of all three."""
        return self.kept + self.in_training + self.images

    @property
    def required(self) -> int:
        """Bytes that must be free before the first job starts."""
        return self.total if self.needs_images else self.total - self.images

    @property
    def most(self) -> str:
        """All of them in words: `at most 2.1 GB of disk`."""
        return f"at most {_size(self.total)} of disk"

    def __str__(self) -> str:
        return (
            f"{self.most} (checkpoints that stay {_size(self.kept)}, of trainings under way "
            f"{_size(self.in_training)}, prepared images {_size(self.images)})"
        )


def forecast_disk(study: Study, remaining: Sequence[Cell], at_once: int) -> DiskForecast:
    """Return the forecast of what the remaining cells write, with `at_once` trainings at the same time."""
    keep = study.config.checkpoints.keep
    known = sizes((cell.model, cell.resolution) for cell in remaining)
    weights = [known[cell.model, cell.resolution].weights for cell in remaining]
    copies = [STATE_COPIES + (study.recipe(cell).ema_decay is not None) for cell in remaining]
    states = [size * count for size, count in zip(weights, copies, strict=True)]
    final = sum(kind in keep for kind in ("best", "final"))
    kept = sum(weights) * final + (2 * sum(states) if "last" in keep else 0)
    largest = sorted(states, reverse=True)[:at_once]
    missing = [size for size in study.stored_sizes(*remaining) if not store_file(size).exists()]
    on_disk = study.config.data.on_disk
    stored = 0 if on_disk == "never" else study.data.images * study.data.channels
    images = stored * sum(size * size for size in missing)
    return DiskForecast(kept, FILES_IN_TRAINING * sum(largest), images, on_disk == "always")


def require_disk(forecast: DiskForecast) -> None:
    """Raise ResomapError where the working directory's disk has less free space than the forecast requires."""
    free = shutil.disk_usage(Path()).free
    if forecast.required > free:
        raise ResomapError(
            f"the trainings to go need {forecast}, and {_size(free)} are free at {Path().absolute()}; make room, work "
            "elsewhere with --directory, name fewer models or resolutions, or keep less "
            "(--config 'checkpoints={keep: [best]}')"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
