"""`resomap forget`: sets all of a cell aside, so that it trains anew; nothing is deleted."""

import time

from resomap import shelf
from resomap.cell import Cell
from resomap.errors import ResomapError
from resomap.marker import read_marker
from resomap.study import Study
from resomap.tracking.tracker import TrackerUnavailable, ask, is_remote, tracking_uri
from resomap.train.lock import cell_lock


def forget(study: Study, cell: Cell, in_tracker: bool) -> list[str]:
    """Move the cell's checkpoints, marker and files below `set-aside/forgotten-<time>`; one sentence a deed.

    With `in_tracker` its run there loses the complete tag, so that nobody takes the cell over from it. Raises
    ResomapError where the cell is being trained, or the tracker does not do it; nothing has moved then.
    """
    with cell_lock(cell, wait=False):
        said = [_forget_run(study, cell)] if in_tracker else []
        name = f"forgotten-{time.strftime('%Y%m%d-%H%M%S')}"
        if shelf.held_fingerprint(cell) is not None:
            said.append(f"checkpoints are now in {shelf.put_aside(cell, name)}")
        place, moved = shelf.put_results_aside(cell, name, lasting=True)
        if moved:
            said.append(f"{moved} files of results are now in {place}")
    return said or [f"there is nothing of {cell.name} here"]


def _forget_run(study: Study, cell: Cell) -> str:
    tracking, marker = study.config.tracking, read_marker(cell.marker)
    run_id = marker["run_id"] if marker else None
    if not is_remote(tracking):
        return "the tracker is the local database, which is never asked: nothing to do there"
    if run_id is None:
        raise ResomapError(
            f"{cell.name} has no marker here that names its run; run `snakemake -n` first, which fetches it"
        )
    try:
        ask(tracking, "runs/set-tag", {"run_id": run_id, "key": "resomap.complete", "value": "0"})
    except TrackerUnavailable as error:
        raise ResomapError(f"the tracker {tracking_uri(tracking)} did not do it: {error}; try again later") from None
    return f"run {run_id} no longer counts as complete in {tracking_uri(tracking)}"
