"""The cell that the map recommends, its finished trainings, and the epoch at which a refit of it ends. Light."""

import statistics
from collections.abc import Iterable
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.cells.winner_cell import Choice
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.summary.basis import SUMMARY, basis


def recommended(study: Study) -> str | None:
    """Return the name of the cell that the map of these settings recommends (`vgg11@320`); None without one."""
    content: Any = read_json(SUMMARY)
    if not isinstance(content, dict) or content.get("basis") != basis(study):
        return None
    answer = content.get("answer")
    if not isinstance(answer, dict) or type(answer.get("resolution")) is not int:
        return None
    return f"{answer.get('model')}@{answer['resolution']}"


def wanted_cell(study: Study, named: str | None) -> Cell:
    """Return the cell, with the first seed, that a winner is to be made of: the named one, else the recommended one.

    Raises ResomapError where there is none.
    """
    if named is not None:
        return study.require_square(named, "the cell of the winner")
    if (name := recommended(study)) is None:
        raise ResomapError(
            f"{SUMMARY} recommends no cell under these settings; run `snakemake`, which makes the map, or name a cell "
            "(--config 'winner={cell: vgg11@320}')"
        )
    return study.find(name)


def markers_of(study: Study, cell: Cell) -> dict[Cell, Marker | None]:
    """Return the trainings that tell of a cell, each with its marker; None where it is not finished."""
    return {one: Marker.of_done(one, study.fingerprint(one), study.content_digest) for one in study.trainings_of(cell)}


def done_trainings(study: Study, cell: Cell) -> dict[Cell, Marker]:
    """Return the finished trainings of a cell with their markers. Raises ResomapError where there are none."""
    markers = markers_of(study, cell)
    found = {one: marker for one, marker in markers.items() if marker is not None}
    if not found:
        raise ResomapError(
            f"no training of {cell.map_position} is finished under these settings, and a winner is made of them; run "
            f"{study.resume_command(next(iter(markers)))}"
        )
    return found


def median_epoch(markers: Iterable[Marker]) -> int | None:
    """Return the median of the epochs that trainings chose, the later one between two; None where none tells."""
    known = [marker.best_epoch for marker in markers if marker.best_epoch is not None]
    return statistics.median_high(known) if known else None


def other_recommendation(study: Study, choice: Choice) -> str | None:
    """Return the sentence for a winner whose cell the map no longer recommends; None where it does, or none was asked.

    A winner is not retrained for that: its test figures are known, and the next one's would be a second look.
    """
    name = recommended(study)
    if name is None or name == choice.position or choice.chosen_by != "map":
        return None
    return (
        f"the winner is {choice.position}, and the map now recommends {name}: it stays what it is; `resomap forget "
        "winner` and then `snakemake winner` train the other one"
    )
