"""Choice of a model where `training.graphs` is `auto`: whether its steps are recorded, and what it depends on.

The first training of the model makes it, at the study's smallest resolution (`resomap/train/graph_search.py`). Light.

One choice for a model at all its resolutions and seeds. No fingerprint holds it: a training whose recorded steps have
other bits than plain ones is marked as not exact.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import break_seal, sealed

SCHEMA = 1
DIRECTORY = Path("results", "graphs")


def path_of(model: str) -> Path:
    """Return the path of a model's choice."""
    return DIRECTORY / f"{model}.json"


def cell_of(study: Study, model: str) -> Cell:
    """Return the cell by which the choice is made: the smallest resolution, at which launches count most."""
    return study.cell(model, min(study.config.resolutions))


def settings(study: Study, cell: Cell) -> dict[str, Any]:
    """Return the settings that the choice depends on, machine and resolution apart; it is made anew if they change."""
    recipe = study.recipe(cell)
    return {
        "schema": SCHEMA,
        "model": cell.model,
        "deterministic": study.config.deterministic,
        "batch_size": recipe.batch_size,
        "microbatch": recipe.microbatch,
        "amp": recipe.amp,
        "channels_last": recipe.channels_last,
        "compile": recipe.compile,
        "channels": study.config.data.input_channels,
    }


def read(study: Study, model: str) -> bool | None:
    """Return the choice made under the present settings; None where there is none, or its file is damaged."""
    content = read_json(path_of(model))
    try:
        break_seal(content)
    except (TypeError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("settings") != settings(study, cell_of(study, model)):
        return None
    found = content.get("graphs")
    return found if isinstance(found, bool) else None


def write(study: Study, model: str, found: Mapping[str, Any]) -> None:
    """Write the choice, `graphs`, with what it was made by. Raises OSError."""
    write_json(path_of(model), sealed({**found, "settings": settings(study, cell_of(study, model))}))
