"""Microbatch of a model where `training.microbatch` is `auto`: the number found, and the settings it depends on.

It is the number of images a forward pass takes in training; `resomap/train/microbatch_search.py` finds it. Light.

One number for a model at all its resolutions and seeds, because batch normalisation sees the microbatch. The
fingerprint holds the word `auto`, so that a plan needs no GPU; the number is in last.pt and in the marker.
"""

from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.core.sealed_json import break_seal
from resomap.models.index import COLOURS

SCHEMA = 1
MAX_BATCH = 2**31  # images: a larger number is damage
DIRECTORY = Path("results", "microbatch")


def path_of(model: str) -> Path:
    """Return the path of the number found for a model, which is Snakemake's target."""
    return DIRECTORY / f"{model}.json"


def is_auto(study: Study, cell: Cell) -> bool:
    """Return True if the cell's microbatch is to be found, not given by the configuration."""
    return study.recipe(cell).microbatch == "auto"


def cells_of(study: Study, model: str) -> list[Cell]:
    """Return the cells at which the microbatch is tried, one for each resolution, the largest first.

    Raises ResomapError where the model is unknown or its microbatch is given by the configuration.
    """
    cells = [study.cell(model, resolution) for resolution in sorted(study.config.resolutions, reverse=True)]
    wanted = [cell for cell in cells if is_auto(study, cell)]
    if not wanted:
        raise ResomapError(f"training.microbatch is not auto for {model}: there is nothing to find")
    return wanted


def settings(study: Study, model: str) -> dict[str, Any]:
    """Return the settings that the number depends on, machine and resolution apart; it is found anew if they change."""
    recipe, channels = study.recipe(cells_of(study, model)[0]), study.config.data.input_channels
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
        **({} if channels == COLOURS else {"channels": channels}),
    }


def read(study: Study, model: str) -> int | None:
    """Return the number found under the present settings at the largest resolution or a larger one; None without one.

    A larger one counts, so a sub-grid of smaller images keeps the number that the whole grid has.
    """
    content = read_json(path_of(model))
    try:
        break_seal(content)
    except (TypeError, ValueError):  # none, or damaged: it is found anew
        return None
    if not isinstance(content, dict) or content.get("settings") != settings(study, model):
        return None
    found, largest = content.get("microbatch"), content.get("largest")
    if type(found) is not int or type(largest) is not int or not 1 <= found <= MAX_BATCH:
        return None
    return found if largest >= cells_of(study, model)[0].resolution else None


def require(study: Study, cell: Cell) -> int | None:
    """Return the microbatch of the cell's training, in images a forward pass; None: the whole batch.

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
