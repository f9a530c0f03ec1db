"""The done marker of a cell: strict JSON, written last, believed only after a check."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.core.files import read_json, write_json

SCHEMA = 1
REQUIRED = (
    "schema",
    "model",
    "resolution",
    "seed",
    "fingerprint",
    "base",
    "uid",
    "run_id",
    "origin",
    "finished_at",
    "epochs",
    "metrics",
    "cost",
    "exact",
)


def write_marker(path: Path, content: Mapping[str, Any]) -> None:
    """Write a marker (or its twin beside the checkpoints). Raises KeyError where a required key is missing."""
    missing = [name for name in REQUIRED if name not in content]
    if missing:
        raise KeyError(f"the marker lacks {', '.join(missing)}")
    write_json(path, content)


def read_marker(path: Path) -> dict[str, Any] | None:
    """A marker's content, or None where it is missing, damaged, or lacks a key."""
    return whole(read_json(path))


def whole(content: Any) -> dict[str, Any] | None:
    """What was read as a marker, where it is a dict with every required key; else None."""
    return content if isinstance(content, dict) and all(name in content for name in REQUIRED) else None


def is_valid(content: Mapping[str, Any] | None, cell: Cell, fingerprint: str) -> bool:
    """Whether a marker's content says that this very cell is done under these very settings."""
    return (
        content is not None
        and content["fingerprint"] == fingerprint
        and (content["model"], content["resolution"], content["seed"]) == (cell.model, cell.resolution, cell.seed)
        and isinstance(content["metrics"], dict)
        and bool(content["metrics"])
        and all(_is_finite_or_null(value) for value in content["metrics"].values())
    )


def _is_finite_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))
