"""Cell of the map: a model at a resolution with a fold and a seed, its name and the paths of its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True, order=True)
class Cell:
    """Cell: a model, a resolution, a fold and a seed, with its paths. The only place where these are put together.

    `family` is the folder of its checkpoints; `suffix` tells fold and seed in names: `.fold2`, `.seed1`,
    `.fold2.seed1`; it is empty for the first fold and the first seed of the configuration.
    """

    model: str
    resolution: int  # pixels, images are square
    seed: int
    family: str
    suffix: str = ""
    fold: int | None = None  # that judges, counted from 1; None: a study without folds

    @property
    def name(self) -> str:
        """Name that people type and read: `vgg11@320`, `vgg11@320.seed1` or `vgg11@320.fold2.seed1`."""
        return f"{self.model}@{self.resolution}{self.suffix}"

    @property
    def map_position(self) -> str:
        """Key of its overrides, the same for all folds and seeds: `vgg11@320`."""
        return f"{self.model}@{self.resolution}"

    def beside_marker(self, extension: str) -> Path:
        """Return the path `results/vgg11/320.<extension>`: files of the cell share the marker's stem."""
        return Path("results", self.model, f"{self.resolution}{self.suffix}.{extension}")

    @cached_property
    def marker(self) -> Path:
        """Path of the done marker, which is Snakemake's target."""
        return self.beside_marker("done")

    @property
    def lock_name(self) -> str:
        """Name of its lock: one process at a time works at what has this name."""
        return self.name

    @property
    def further_identity(self) -> Mapping[str, Any]:
        """Contents of its fingerprint beside model, resolution, seed and recipe; none for a cell of the grid."""
        return {}

    @property
    def always_kept(self) -> tuple[str, ...]:
        """Checkpoint files that stay whatever `checkpoints.keep` says."""
        return ()

    @property
    def history(self) -> Path:
        """Path of the history: losses, metrics and learning rate of the finished training, one line for each epoch."""
        return self.beside_marker("history.csv")

    @property
    def checkpoints(self) -> Path:
        """Directory of last.pt, best.pt and final.pt."""
        directory = Path("checkpoints", self.family, self.model, str(self.resolution))
        return directory.joinpath(*self.suffix.split(".")[1:])
