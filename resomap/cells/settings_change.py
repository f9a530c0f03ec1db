"""Settings for which a finished training no longer counts, each with its old and its new value.

A marker holds a fingerprint and not the settings behind it; they are in the study files that runs left below
`.resomap/`, one for each configuration.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import STATE_DIRECTORY, Study
from resomap.config.messages import shown
from resomap.core.errors import ResomapError

UNKNOWN = "settings that no run here had, or another version of ResoMap"


class SettingsChange:
    """Differences of a study to those that ran in this directory before it."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def words(self, cell: Cell, fingerprint: str) -> str:
        """Return what differs from the training with this fingerprint: `training.epochs was 12 and is 25`."""
        for former in self._former:
            if former.fingerprint(cell) == fingerprint:
                found = list(_differences(_deciding(former, cell), _deciding(self._study, cell)))
                if found:
                    return ", ".join(found)
        return UNKNOWN

    @cached_property
    def _former(self) -> list[Study]:
        """Studies that ran here, the latest first; what cannot be read is left out."""
        found = []
        files = sorted(STATE_DIRECTORY.glob("study-*.json"), key=_time, reverse=True)
        for path in files:
            try:
                found.append(Study.load(path))
            except ResomapError:
                continue
        return found


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _deciding(study: Study, cell: Cell) -> dict[str, Any]:
    """Return the settings that decide the cell's result, by their places in the configuration."""
    config = study.config.model_dump()
    return {
        "training": study.recipe(cell).model_dump(),
        "deterministic": config["deterministic"],
        "data": {**config["data"], "images": study.data_identity[:8]},
    }


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{where}{name}.")
        elif old != new:
            yield f"{where}{name} was {shown(old)} and is {shown(new)}"
