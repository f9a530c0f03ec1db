"""Features of a frozen network that several trainings share: their place, and the settings that they depend on. Light.

`resomap/train/feature_files.py` writes and reads them. A training takes them only where they are what it would compute
itself, to the bit; what is not shared, or does not fit, it computes.
"""

from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.config import Training
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.core.sealed_json import break_seal
from resomap.models.weights_digest import weights_identity

SCHEMA = 1
DIRECTORY = Path("results", "features")


def path_of(model: str, resolution: int) -> Path:
    """Return the path of the list of a network's features at a resolution, which is Snakemake's target."""
    return DIRECTORY / model / f"{resolution}.json"


def are_shared(study: Study, cell: Cell) -> bool:
    """Return True if the cell's training learns the head alone, on features that others of its square have too."""
    return sharing(study, study.recipe(cell)) > 1


def sharing(study: Study, recipe: Training) -> int:
    """Return how many trainings of a square with this recipe have the same features.

    Random weights are drawn from the training's seed, so that each has features of its own.
    """
    if recipe.trainable != "head" or recipe.weights is None:
        return 1
    return len(study.config.seeds) * len(study.folds)


def require_shared(study: Study, model: str, resolution: int) -> Cell:
    """Return the first training of a square whose trainings share features. Raises ResomapError where they do not."""
    cell = study.cell(model, resolution)
    if not are_shared(study, cell):
        raise ResomapError(
            f"the trainings of {cell.map_position} share no features: they are shared where `trainable` is head, "
            "weights are given, and there are several seeds or folds"
        )
    return cell


def settings(study: Study, cell: Cell) -> dict[str, Any]:
    """Return the settings that the features depend on, machine apart; they are computed anew if these change."""
    recipe = study.recipe(cell)
    return {
        "schema": SCHEMA,
        "data": study.data_identity,
        "model": cell.model,
        "resolution": cell.resolution,
        "weights": weights_identity(recipe.weights),
        "device": study.config.device,
        "deterministic": study.config.deterministic,
        "amp": recipe.amp,
        "channels_last": recipe.channels_last,
        "batch_size": recipe.batch_size,
        "microbatch": recipe.microbatch,
        "channels": study.config.data.input_channels,
    }


def are_there(study: Study, cell: Cell) -> bool:
    """Return True if features of the present settings and, where that is known, of the present images are there."""
    content = read_list(cell)
    if content is None or content.get("settings") != settings(study, cell):
        return False
    of_images = content.get("key", {}).get("content_digest")
    return study.content_digest in (None, of_images)


def read_list(cell: Cell) -> dict[str, Any] | None:
    """Return the list of the features that are there; None where there is none, or it is damaged."""
    content = read_json(path_of(cell.model, cell.resolution))
    try:
        return content if break_seal(content) else None
    except (AttributeError, TypeError, ValueError):
        return None
