"""The end of a dry run: the map of the grid with what is done and what remains, why, and how long it will take."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resomap.cells import learning_rate_choice
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.settings_change import SettingsChange
from resomap.core.text import duration, first_few
from resomap.estimates.duration import START_SECONDS
from resomap.planning.disk import forecast_disk
from resomap.planning.grid import Grid
from resomap.planning.training_rule import is_rate_search, is_training
from resomap.status.collect import CellStatus, collect

State = Literal["done", "to go", "again", "failed", "running", "elsewhere", "not asked"]
# One sign a training, where a square of the map has several.
SIGNS: dict[State, str] = {
    "done": "#",
    "to go": ".",
    "again": "~",
    "failed": "x",
    "running": ">",
    "elsewhere": "^",
    "not asked": "-",
}
MEANINGS: dict[State, str] = {
    "done": "done",
    "to go": "to go",
    "again": "trains again",
    "failed": "failed before, is tried again",
    "running": "trains now, in another run",
    "elsewhere": "trained elsewhere now",
    "not asked": "not asked for by this call",
}
LISTED = 12  # lines of one kind: a grid of a thousand must leave its map on the screen


@dataclass(frozen=True)
class Planned:
    """A training of the grid as this call plans it; `note` says why it trains again, failed, or where it runs."""

    cell: Cell
    state: State
    note: str = ""


def show_plan(grid: Grid, directory: Path) -> Iterator[str]:
    """Yield the lines of the map. `directory` is the study's: Snakemake has left it by now."""
    with contextlib.chdir(directory):
        jobs = grid.api.jobs_to_run()
        trained = {
            (job.wildcards["model"], job.wildcards["resolution"], job.wildcards["suffix"])
            for job in jobs
            if is_training(job.rule) and "model" in job.wildcards
        }
        grid.settle([])
        planned = list(_planned(grid, trained))
        yield ""
        yield from _map(planned)
        yield from _reasons(planned)
        others = Counter(job.rule for job in jobs if not is_training(job.rule))
        if others:
            # Snakemake lists jobs in another order each time.
            ordered = sorted(others.items(), key=lambda entry: (-entry[1], entry[0]))
            yield f"besides trainings: {', '.join(f'{count} {rule}' for rule, count in ordered)}"
        searched = [job.wildcards["model"] for job in jobs if is_rate_search(job.rule)]
        yield from _closing_lines(grid, planned, others, searched)


def _planned(grid: Grid, trained: set[tuple[str, str, str]]) -> Iterator[Planned]:
    study, report = grid.study, grid.config.report
    place = {cell: number for number, cell in enumerate(study.cells())}
    cells = sorted(grid.planned, key=lambda cell: place.get(cell, len(place)))
    statuses = collect(cells, study.fingerprints(cells), report.metric, report.margin, study.content_digest)
    change = SettingsChange(study)
    for status in statuses:
        cell = status.cell
        is_to_train = (cell.model, str(cell.resolution), cell.suffix) in trained
        if grid.is_done(cell) and not is_to_train:
            yield Planned(cell, "done")
        elif (other := grid.elsewhere(cell)) is not None:
            yield Planned(cell, "elsewhere", str(other))
        elif status.state == "running":
            yield Planned(cell, "running")
        elif not is_to_train:
            yield Planned(cell, "not asked")
        else:
            yield _to_train(status, study.fingerprint(cell), change)


def _to_train(status: CellStatus, fingerprint: str, change: SettingsChange) -> Planned:
    cell = status.cell
    if status.state == "failed" and status.failure is not None:
        return Planned(cell, "failed", status.failure.reason)
    marker = Marker.read(cell.marker)
    if marker is not None and marker.fingerprint != fingerprint:
        return Planned(cell, "again", change.words(cell, marker.fingerprint))
    if marker is not None:
        return Planned(cell, "again", "the images have other contents")
    if cell.marker.exists():
        return Planned(cell, "again", status.note)
    return Planned(cell, "to go", status.note)


def _map(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield the table of models and resolutions, a word in a square or a sign for each of its trainings."""
    squares: dict[tuple[str, int], list[Planned]] = {}
    for one in planned:
        squares.setdefault((one.cell.model, one.cell.resolution), []).append(one)
    models = list(dict.fromkeys(one.cell.model for one in planned))
    resolutions = sorted({one.cell.resolution for one in planned})
    is_single = all(len(square) == 1 for square in squares.values())
    texts = {place: _square(square, is_single) for place, square in squares.items()}
    width = max((len(text) for text in texts.values()), default=0) + 2
    width = max(width, 10)
    first = max(len(model) for model in ["model", *models]) + 2
    yield "model".ljust(first) + "".join(f"{resolution} px".rjust(width) for resolution in resolutions)
    for model in models:
        row = "".join(texts.get((model, resolution), "").rjust(width) for resolution in resolutions)
        yield (model.ljust(first) + row).rstrip()
    yield ""
    if not is_single:
        shown = dict.fromkeys(one.state for one in planned)
        yield ", ".join(f"{SIGNS[state]} {MEANINGS[state]}" for state in shown)
        largest = max(squares.values(), key=len)
        names = [one.cell.suffix.lstrip(".") or "the first" for one in largest]
        yield f"one sign a training of the cell, in this order: {', '.join(names)}"


def _square(square: Sequence[Planned], is_single: bool) -> str:
    if is_single:
        return square[0].state
    done = sum(one.state == "done" for one in square)
    return f"{''.join(SIGNS[one.state] for one in square)} {done}/{len(square)}"


def _reasons(planned: Sequence[Planned]) -> Iterator[str]:
    """Yield why trainings train again, failed, or run elsewhere: a line for each reason, with its trainings."""
    for state, words in (("again", "trains again"), ("failed", "failed before"), ("elsewhere", "elsewhere")):
        by_note: dict[str, list[str]] = {}
        for one in planned:
            if one.state == state:
                by_note.setdefault(one.note, []).append(one.cell.name)
        for note, names in list(by_note.items())[:LISTED]:
            yield f"{words}: {first_few(names, 3)}: {note}"
        if len(by_note) > LISTED:
            yield f"{words}: and {len(by_note) - LISTED} more reasons; `resomap status` has them"
    resumed = [one for one in planned if one.state == "to go" and one.note]
    for one in resumed[:LISTED]:
        yield f"{one.cell.name}: {one.note}"


def _closing_lines(
    grid: Grid, planned: Sequence[Planned], others: Counter[str], searched: Sequence[str]
) -> Iterator[str]:
    """Yield what the disk must hold, and the last line: `3 done, 15 to go, about 4 h, at most 2.1 GB of disk`.

    `searched`: models whose learning rates are to be found.
    """
    going = [one.cell for one in planned if one.state in ("to go", "again", "failed")]
    parts = [f"{sum(one.state == 'done' for one in planned)} done", f"{len(going)} to go"]
    for state in ("failed", "again"):
        if count := sum(one.state == state for one in planned):
            parts[-1] += f" ({count} {'failed before' if state == 'failed' else 'again'})"
    for state in ("running", "elsewhere", "not asked"):
        if count := sum(one.state == state for one in planned):
            parts.append(f"{count} {state if state != 'not asked' else 'not asked for'}")
    if going or others:
        parts.append(f"about {duration(_seconds(grid, going, others, searched))}")
    if going:
        at_once = grid.api.trainings if grid.api.is_local else grid.api.jobs or len(going)
        disk = forecast_disk(grid.study, going, at_once)
        yield f"disk: {disk}"
        if not grid.durations.are_measured:
            yield "time: predicted from the networks' operations alone, until a first training or cost is measured here"
        parts.append(disk.most)
    yield ", ".join(parts)


def _seconds(grid: Grid, going: Iterable[Cell], others: Counter[str], searched: Iterable[str]) -> float:
    """Return the predicted seconds of a call: of its searches for learning rates, then of its trainings, so many at
    once, and of all steps beside them.
    """
    trainings = [grid.durations.seconds(cell) + START_SECONDS for cell in going]
    searches = [
        grid.durations.search_seconds(learning_rate_choice.trial_cell(grid.study, model)) + START_SECONDS
        for model in searched
    ]
    measured = others["cost"] * grid.config.cost.seconds
    return _at_once(grid, searches) + _at_once(grid, trainings) + measured + sum(others.values())


def _at_once(grid: Grid, each: Sequence[float]) -> float:
    """Return the seconds that jobs which train take, as many at a time as this call has."""
    width = grid.api.trainings if grid.api.is_local else grid.api.jobs or max(1, len(each))
    return max(sum(each) / max(1, width), *each, 0.0)
