"""Ends of trainings, compared: all of a finished training that must not depend on how it got there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from conftest import MODEL, RESOLUTION, make_study, trainer

from resomap.compute.checkpoint import load_sealed
from resomap.core.files import read_json


@dataclass
class End:
    """All of a finished training that must not depend on how it got there."""

    weights: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor]
    metrics: dict[str, Any]
    history: bytes
    marker: dict[str, Any]

    @classmethod
    def of(cls, directory: Path, resolution: int = RESOLUTION, suffix: str = "") -> "End":
        """Read the end of the one cell of this resolution and suffix, such as `.fold2`."""
        stem, place = f"{resolution}{suffix}", f"{resolution}{suffix.replace('.', '/')}"
        marker = read_json(next(directory.glob(f"results/*/{stem}.done")))
        return cls(
            load_sealed(next(directory.glob(f"checkpoints/*/*/{place}/final.pt")))["model"],
            load_sealed(next(directory.glob(f"checkpoints/*/*/{place}/best.pt")))["model"],
            marker["metrics"],
            next(directory.glob(f"results/*/{stem}.history.csv")).read_bytes(),
            marker,
        )


def undisturbed(directory: Path, config: dict[str, Any]) -> End:
    """The end of a study's one cell, trained in this directory without an interruption."""
    make_study(directory, config)
    assert trainer(f"{MODEL}@{RESOLUTION}", directory).wait(timeout=120) == 0
    return End.of(directory)


def assert_same_bits(one: End, other: End) -> None:
    for mine, theirs in ((one.weights, other.weights), (one.best, other.best)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert one.metrics == other.metrics
    assert one.history == other.history
    assert one.marker["best_epoch"] == other.marker["best_epoch"]
    assert one.marker["uid"] != other.marker["uid"]  # two trainings, not one read twice


def last(directory: Path, resolution: int = RESOLUTION) -> Path:
    return directory / "checkpoints" / "resnet" / MODEL / str(resolution) / "last.pt"
