"""How many images a forward pass a model's trainings take where `training.microbatch` is `auto`: what was found, and
what that depends on. Light; `resomap/train/microbatch_search.py` finds it.

One number for a model at all its resolutions and seeds, because batch normalisation sees the microbatch. The
fingerprint holds the word `auto`, so that a plan needs no GPU; the number is in last.pt and in the marker.
"""

from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.files import read_json

SCHEMA = 1
DIRECTORY = Path("results", "microbatch")


def path_of(model: str) -> Path:
    """What was found for a model, which is Snakemake's target."""
    return DIRECTORY / f"{model}.json"


def is_wanted(study: Study, cell: Cell) -> bool:
    """Whether the cell's microbatch is to be found."""
    return study.recipe(cell).microbatch == "auto"


def cells_of(study: Study, model: str) -> list[Cell]:
    """The cells that the model is tried as, one a resolution, the largest first.

    Raises ResomapError where the model is unknown or its microbatch is given by the configuration.
    """
    cells = [study.cell(model, resolution) for resolution in sorted(study.config.resolutions, reverse=True)]
    wanted = [cell for cell in cells if is_wanted(study, cell)]
    if not wanted:
        raise ResomapError(f"training.microbatch is not auto for {model}: there is nothing to find")
    return wanted


def settings(study: Study, model: str) -> dict[str, Any]:
    """All that the number depends on, machine and resolution apart: when this changes, it is found anew."""
    recipe = study.recipe(cells_of(study, model)[0])
    return {
        "schema": SCHEMA,
        "model": model,
        "device": study.config.device,
        "deterministic": study.config.deterministic,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer,
        "momentum": recipe.momentum,
        "moving_average": recipe.ema_decay is not None,
        "amp": recipe.amp,
        "channels_last": recipe.channels_last,
    }


def read(study: Study, model: str) -> int | None:
    """The number that was found under the present settings, for the largest resolution or beyond; None without one.

    So a sub-grid of smaller images keeps the number that the whole grid has.
    """
    content = read_json(path_of(model))
    if not isinstance(content, dict) or content.get("settings") != settings(study, model):
        return None
    return int(content["microbatch"]) if content["largest"] >= cells_of(study, model)[0].resolution else None


def require(study: Study, cell: Cell) -> int | None:
    """Images a forward pass of the cell's training; None: the whole batch.

    Raises ResomapError where it is to be found and was not.
    """
    recipe = study.recipe(cell)
    if recipe.microbatch != "auto":
        return recipe.microbatch
    if (found := read(study, cell.model)) is None:
        raise ResomapError(
            f"training.microbatch is auto, and nothing fitting is found in {path_of(cell.model)}; "
            f"`snakemake {path_of(cell.model)}` finds it"
        )
    return min(found, recipe.batch_size)
