"""Part of the prepared images: a size that another job of the same run prepared, in `results/data/<size>.part/`.

It holds what `results/data/<size>/` is to hold, and `plan.json` last, which says of which call of Snakemake it is (see
`resomap.cells.wanted`). It counts for that call alone. No rule lists it, because Snakemake deletes a job's outputs
before the job starts.
"""

import contextlib
import os
import shutil
from pathlib import Path

from resomap.core.files import read_json, sync_directory, write_json
from resomap.data import DATA_DIRECTORY
from resomap.data.store import FILE, store_directory

_PLAN = "plan.json"


def part_place(size: int) -> Path:
    """Return the folder of a size's part, beside that of the size in pixels."""
    return store_directory(DATA_DIRECTORY, size).with_suffix(".part")


def begin_part(size: int) -> Path:
    """Return the folder for a part, empty. Raises OSError."""
    place = part_place(size)
    _remove(place)
    place.mkdir(parents=True)
    return place


def finish_part(size: int, plan: str | None) -> None:
    """Mark a part as whole. Raises OSError."""
    write_json(part_place(size) / _PLAN, {"plan": plan})


def take_over(size: int, plan: str | None) -> bool:
    """Make a part of this plan the images of its size; return False where none fits. The part is removed either way."""
    part, place = part_place(size), store_directory(DATA_DIRECTORY, size)
    content = read_json(part / _PLAN)
    fits = isinstance(content, dict) and bool(plan) and content.get("plan") == plan
    if fits:
        place.mkdir(parents=True, exist_ok=True)
        (place / FILE).unlink(missing_ok=True)
        # A store without arrays may come in place of one with them.
        for array in place.glob("*.npy"):
            array.unlink()
        # store.json last: it says that they are whole.
        for path in sorted(part.iterdir(), key=lambda one: one.name == FILE):
            if path.name != _PLAN:
                os.replace(path, place / path.name)
        sync_directory(place)
    _remove(part)
    return fits


def remove_parts_of_others(plan: str | None) -> None:
    """Remove parts of earlier calls, and parts that were not finished."""
    for part in DATA_DIRECTORY.glob("*.part"):
        content = read_json(part / _PLAN)
        if not (isinstance(content, dict) and plan and content.get("plan") == plan):
            _remove(part)


def _remove(part: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(part)
