"""`resomap forget`: set the trainings of a cell, or one of them, aside, so that they run anew; nothing is deleted."""

import argparse
import time

from resomap.cells import archive
from resomap.cells.cell import Cell
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.cells.tags import Tag
from resomap.cells.winner_cell import NAME, Winner, held_choice, winner_of
from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.tracking.rest import TrackerUnavailable, ask, is_remote, tracking_uri


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study(
        "forget", run, "set the trainings of a cell, or one of them, aside, so that they run anew"
    )
    parser.add_argument("cell", help="vgg11@320: all its trainings; vgg11@320.seed1 or .fold2: one of them; or winner")
    parser.add_argument("--tracker", action="store_true", help="their runs no longer count as complete either")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    study = Study.load(given.study)
    named = [_winner(study)] if given.cell == NAME else study.named(given.cell)
    for cell in named:
        title = f"{study.title(cell)}: " if len(named) > 1 else ""
        for sentence in forget(study, cell, given.tracker):
            print(f"{title}{sentence}")


def _winner(study: Study) -> Cell:
    """Return the winner that was begun last; one of no cell where none was."""
    choice = held_choice()
    return winner_of(study, choice) if choice else Winner.of_any_cell()


def forget(study: Study, cell: Cell, in_tracker: bool) -> list[str]:
    """Move a training's checkpoints, marker and files below `set-aside/forgotten-<time>`; return a sentence for each.

    With `in_tracker` its run there loses the complete tag, so that nobody takes the training over from it. Raises
    ResomapError where it is under way, or the tracker does not do it; nothing has moved then.
    """
    with cell_lock(cell, wait=False):
        sentences = [_forget_run(study, cell)] if in_tracker else []
        name = f"forgotten-{time.strftime('%Y%m%d-%H%M%S')}"
        if archive.held_fingerprint(cell) is not None:
            sentences.append(f"checkpoints are now in {archive.set_aside_checkpoints(cell, name)}")
        place, moved = archive.set_aside_results(cell, name, with_logs=True)
        if moved:
            sentences.append(f"{moved} files of results are now in {place}")
    return sentences or [f"there is nothing of {cell.name} here"]


def _forget_run(study: Study, cell: Cell) -> str:
    tracking, marker = study.config.tracking, Marker.read(cell.marker)
    run_id = marker.run_id if marker else None
    if not is_remote(tracking):
        return "the tracker is the local database, which is never asked: nothing to do there"
    if run_id is None:
        raise ResomapError(
            f"{cell.name} has no marker here that names its run; run `snakemake -n` first, which fetches it"
        )
    try:
        ask(tracking, "runs/set-tag", {"run_id": run_id, "key": Tag.COMPLETE, "value": "0"})
    except TrackerUnavailable as error:
        raise ResomapError(f"the tracker {tracking_uri(tracking)} did not do it: {error}; try again later") from None
    return f"run {run_id} no longer counts as complete in {tracking_uri(tracking)}"
