"""Rates of trainings that share a device, where `gpu.per_device` is `auto`, and the number that is chosen by them.

The first run of a study measures them for one of its cells (`resomap/train/slots_search.py`). Light. No fingerprint
holds the number: a training's bits do not depend on how many share its device.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import break_seal, sealed

SCHEMA = 1
DIRECTORY = Path("results", "slots")
LEAST_GAIN = 0.05  # in images a second: for less, fewer trainings share a device, each with more memory and cores

Rates = dict[int, float]  # images a second of all that train at a time, by their number


def path_of(kind: str) -> Path:
    """Return the path of the rates on a kind of device, `cpu` or `cuda`."""
    return DIRECTORY / f"{kind}.json"


def settings(study: Study, cell: Cell, cores: int) -> dict[str, Any]:
    """Return the settings that the rates depend on; `cores`: for all trainings of a device."""
    recipe, config = study.recipe(cell), study.config
    return {
        "schema": SCHEMA,
        "model": cell.model,
        "resolution": cell.resolution,
        "cores": cores,
        "mps": config.gpu.mps,
        "deterministic": config.deterministic,
        "batch_size": recipe.batch_size,
        "microbatch": recipe.microbatch,
        "amp": recipe.amp,
        "channels_last": recipe.channels_last,
        "optimizer": recipe.optimizer,
        "channels": config.data.input_channels,
    }


def read(study: Study, kind: str, cores: int, most: int) -> Rates | None:
    """Return the rates that were measured of 1 to `most` trainings, by a cell that the grid still has.

    None where there are none under the present settings, or their file is damaged.
    """
    content = read_json(path_of(kind))
    try:
        break_seal(content)
        found = {int(number): float(rate) for number, rate in content["rates"].items()}
        measured = content["settings"]
        pair = measured["model"], measured["resolution"]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    cell = next((one for one in study.cells() if (one.model, one.resolution) == pair), None)
    if cell is None or measured != settings(study, cell, cores) or not all(rate > 0 for rate in found.values()):
        return None
    return found if set(range(1, most + 1)) <= set(found) else None


def write(study: Study, kind: str, cell: Cell, cores: int, found: Mapping[str, Any]) -> None:
    """Write the rates, `rates`, with what they were measured by. Raises OSError."""
    write_json(path_of(kind), sealed({**found, "settings": settings(study, cell, cores)}))


def fastest(rates: Rates, most: int) -> int:
    """Return the smallest number, at most `most`, whose rate is the highest but for LEAST_GAIN of it."""
    best = max(rates[number] for number in range(1, most + 1))
    return next(number for number in range(1, most + 1) if rates[number] >= (1 - LEAST_GAIN) * best)
