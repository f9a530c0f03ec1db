"""Learning rate of a model where `training.learning_rate` is `auto`: the rate found, and the search that found it.

`resomap/train/learning_rate_search.py` finds it. Light.

One rate for a model at all its resolutions, folds and seeds. The fingerprint holds the word `auto` and the search's
settings, so that a plan needs no training; the rate is in last.pt, in the marker and in the tracker.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.config.load import training_for
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.json_object import JsonObject
from resomap.core.sealed_json import break_seal, sealed

SCHEMA = 1
DIRECTORY = Path("results", "learning-rate")
EXTENSIONS = 2  # rates beyond the ladder that a search tries at most


@dataclass(frozen=True, kw_only=True)
class RateSearch(JsonObject):
    """Outcome of a search: the best rate, and each rate that was tried. The fields are the file's keys."""

    schema: int = SCHEMA
    model: str
    rate: float
    search: str  # 12 hex digits over all that decides the outcome: `Study.rate_search`
    monitor: str  # metric on the images held out, by which rates were judged
    resolution: int  # pixels
    epochs: int  # of each trial
    images: Mapping[str, int]  # that trials learned from (`train`), and that judged them (`held_out`)
    # By rate, in ascending order: `value` (of the best epoch; None: it diverged), `epoch`, `reason` (None: it trained).
    tried: Mapping[str, Any]
    content_digest: str | None = None  # of the images
    found_at: float | None = None  # seconds since 1970
    device: str | None = None
    origin: str | None = None  # of one that was taken over: the training from whose marker it comes

    @classmethod
    def parse(cls, content: Any) -> "RateSearch | None":
        """Return the outcome that decoded JSON holds; None where it is none, or no rate that could train."""
        found = super().parse(content)
        if found is None or not (math.isfinite(found.rate) and found.rate > 0):
            return None
        try:
            are_trials = all(float(rate) > 0 and isinstance(trial, dict) for rate, trial in found.tried.items())
        except ValueError:
            return None
        return found if are_trials else None

    def write(self) -> None:
        """Write the outcome at its place. Raises OSError."""
        write_json(path_of(self.model), sealed(self.as_json()))


def path_of(model: str) -> Path:
    """Return the path of the rate found for a model, which is Snakemake's target."""
    return DIRECTORY / f"{model}.json"


def trials_path(model: str) -> Path:
    """Return the path of the finished trials of a search under way."""
    return DIRECTORY / f"{model}.trials"


def is_auto(study: Study, cell: Cell) -> bool:
    """Return True if the cell's learning rate is to be found, not given by the configuration."""
    return study.recipe(cell).learning_rate == "auto"


def trial_cell(study: Study, model: str) -> Cell:
    """Return the model at the resolution of the trials, in the grid or not.

    Raises ResomapError where the model is unknown, or the configuration gives all its learning rates.
    """
    recipe = training_for(study.config, model)
    resolutions = study.config.resolutions
    if recipe.learning_rate != "auto" and not any(is_auto(study, study.cell(model, res)) for res in resolutions):
        raise ResomapError(f"training.learning_rate is not auto for {model}: there is nothing to find")
    return study.cell(model, recipe.learning_rate_search.resolution)


def read(study: Study, model: str) -> RateSearch | None:
    """Return what was found for a model under the present settings and images; None without it."""
    content = read_json(path_of(model))
    try:
        break_seal(content)
    except (TypeError, ValueError):  # none, or damaged: it is found anew
        return None
    found = RateSearch.parse(content)
    return found if found is not None and counts_for(study, model, found) else None


def counts_for(study: Study, model: str, found: RateSearch) -> bool:
    """Return True if an outcome is this model's, of these settings and, where both are known, of these images."""
    here, there = study.content_digest, found.content_digest
    return (found.model, found.search) == (model, study.rate_search(model)) and (None in (here, there) or here == there)


def of_markers(study: Study, model: str, markers: Iterable[Marker]) -> RateSearch | None:
    """Return the outcome that trainings of a model began with, of whatever cells; None where none counts here.

    Where they had several, the latest finished training's.
    """
    latest = sorted(markers, key=lambda marker: marker.finished_at or 0.0, reverse=True)
    for marker in latest:
        found = RateSearch.parse(marker.learning_rate_search)
        if found is not None and counts_for(study, model, found):
            where = f"run {marker.run_id}" if marker.is_from_tracker else f"the training {marker.uid}"
            return replace(found, origin=f"{marker.model}@{marker.resolution}, {where}")
    return None


def of_trained(study: Study, model: str) -> RateSearch | None:
    """Return the outcome that trainings of a model which are done in this directory began with; None without it."""
    files = path_of(model).parents[1].joinpath(model).glob("*.done")
    return of_markers(study, model, (marker for file in files if (marker := Marker.read(file)) is not None))


def require(study: Study, cell: Cell) -> RateSearch | None:
    """Return what was found for the cell's model, or what its done trainings began with; None for a rate that is given.

    Raises ResomapError where it is to be found and was not.
    """
    if not is_auto(study, cell):
        return None
    if (found := read(study, cell.model) or of_trained(study, cell.model)) is None:
        raise ResomapError(
            f"training.learning_rate is auto, and nothing fitting is found in {path_of(cell.model)}; "
            f"`snakemake {path_of(cell.model)}` finds it"
        )
    return found
