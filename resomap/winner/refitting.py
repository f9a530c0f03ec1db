"""Step of a refit: takes the winner over from the tracker where it is complete there, else trains it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resomap.cells import archive, fetch_record, winner_record
from resomap.cells.cell import Cell
from resomap.cells.decision import Decision
from resomap.cells.evaluation_record import weights_paths
from resomap.cells.leftovers import recover_finished, remove_leftovers
from resomap.cells.lock import cell_lock, step_lock
from resomap.cells.marker import Marker, require_done
from resomap.cells.study import Study
from resomap.cells.winner_cell import Begun
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection
from resomap.data import DATA_DIRECTORY
from resomap.tracking.lookup import TrackerLookup
from resomap.train.attempt import Run, train_cell
from resomap.train.request import Request
from resomap.train.signals import SignalWatch


def refit(request: Request, begun: Begun, signals: SignalWatch) -> Marker:
    """Train the winner, or go on with it, or take it over; return its marker. `request` is for its refit.

    `signals` are heard by the caller.

    Raises what `train_cell` raises, and ResomapError where the images cannot be prepared.
    """
    study, cell = request.study, begun.cell
    if begun.marker is None and not (_is_recovered(study, begun, request.say) or _is_taken_over(study, begun)):
        with _prepared_images(study, cell, request.threads, request.say):
            train_cell(request, training=_refit_training, watch=signals)
    marker = require_done(study, cell)
    if marker.is_from_tracker:
        _adopt(study, begun, marker, request.say)
    return marker


def _refit_training() -> Run:
    with paused_collection():
        from resomap.train.refit import run_refit

    return run_refit


def _is_recovered(study: Study, begun: Begun, say: Callable[[str], None]) -> bool:
    """Bring back the marker of a winner that is complete here, or was set aside, as the plan does for a cell."""
    with cell_lock(begun.cell, say):
        if not recover_finished(study, begun.cell):
            return False
        say(f"{begun.cell.name} is complete in {begun.cell.checkpoints}; its marker is written again")
        return True


def _is_taken_over(study: Study, begun: Begun) -> bool:
    """Write the marker of a winner that is complete in the tracker: this cell, these epochs, train + validation."""
    if not study.config.skip_completed:
        return False
    marker = TrackerLookup(study).complete({begun.cell: study.fingerprint(begun.cell)}).get(begun.cell)
    if marker is None:
        return False
    _record(begun, marker)
    with cell_lock(begun.cell):
        archive.activate_for(begun.cell, marker)
        # Where its files do not come at once, the next call knows it as done without asking again.
        marker.write(archive.marker_copy_path(begun.cell))
        marker.write(begun.cell.marker)
    return True


def _record(begun: Begun, marker: Marker) -> None:
    winner_record.record(
        begun.cell,
        begun.choice,
        marker.metrics,
        fingerprint=marker.fingerprint,
        uid=marker.uid,
        origin=marker.origin,
    )


def _adopt(study: Study, begun: Begun, marker: Marker, say: Callable[[str], None]) -> None:
    """Fetch the files of a winner that was trained elsewhere, its weights if its run has them."""
    _record(begun, marker)  # of a run that was finished elsewhere while this one trained
    if not fetch_record.is_fetched(begun.cell, marker):
        from resomap.tracking.fetch import fetch_cell

        fetch_cell(study, begun.cell, say)
    for weights in weights_paths(begun.cell, marker.fingerprint):
        if weights.exists() and Decision.beside(weights, marker.fingerprint, marker.uid) is None:
            begun.choice.decision(marker.fingerprint, marker.uid).write(weights)


@contextmanager
def _prepared_images(study: Study, cell: Cell, threads: int, say: Callable[[str], None]) -> Iterator[None]:
    """Have all images of the cell's resolution prepared: those of training may have gone with the last of its cells.

    The step prepares them itself, as the plan that starts it may not know the cell yet. Raises ResomapError.
    """
    from resomap.data.prepare import prepare_images
    from resomap.data.store import Store, array_file, store_directory

    settings, made = study.config.data, []
    for size in study.stored_sizes(cell):
        place = store_directory(DATA_DIRECTORY, size)
        with step_lock(f"images {size}", say):
            try:
                Store.open(DATA_DIRECTORY, size)
            except ResomapError:
                made.append(place)
                remove_leftovers(place, is_locked=True)
                prepare_images(DATA_DIRECTORY, size, settings.workers or threads, settings.on_disk)
    yield
    for place in [] if settings.keep_train else made:
        array_file(place, "train").unlink(missing_ok=True)
