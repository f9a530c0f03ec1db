"""Leftovers of processes that were killed, removed by the next run of their step.

Temporary files are told from those of living processes by their names (see `resomap.core.temporary`). What a finished
cell no longer needs is deleted by its training; where that was killed between the marker and this, by whoever finds the
cell done next.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from resomap.cells import decision
from resomap.cells.archive import EPOCH_RECORDS, recover_marker
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker, require_done
from resomap.cells.progress import failure_path, progress_path
from resomap.cells.study import STATE_DIRECTORY, Study
from resomap.core import temporary
from resomap.machine.processes import START_SLACK_SECONDS, process_lives

# Of other machines, and of names of earlier versions: nobody writes one file for so long without a byte more.
FOREIGN_SECONDS = 24 * 3600.0
STATE_DIRECTORIES = (STATE_DIRECTORY, STATE_DIRECTORY / "failures", STATE_DIRECTORY / "heartbeats")


def remove_leftovers(*directories: Path, is_locked: bool = False) -> None:
    """Delete temporary files of dead processes in these directories, not below them.

    With `is_locked` the caller holds the lock without which nobody on another machine writes there, so that what is
    not of a living process of this machine goes at once, not after a day. Nothing is raised where a directory is
    missing or may not be written.
    """
    for directory in directories:
        for path in _temporary_files(directory):
            if _is_dead(path, is_locked):
                _remove(path)


def remove_cell_leftovers(cell: Cell) -> None:
    """Delete temporary files of dead processes in both of the cell's directories. The caller holds its lock."""
    remove_leftovers(cell.checkpoints, is_locked=True)
    remove_leftovers(cell.marker.parent)  # which all cells of the model share


def tidy_finished(cell: Cell, marker: Marker, keep: Sequence[str]) -> None:
    """Delete what a finished cell does not need, as its training does at its end. The caller holds the cell's lock.

    `keep`: the configuration's `checkpoints.keep`. The files of a run that was fetched from a tracker all stay.
    """
    remove_cell_leftovers(cell)
    if marker.is_from_tracker:
        return
    prune_checkpoints(cell, keep)
    for path in (progress_path(cell), failure_path(cell)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def recover_finished(study: Study, cell: Cell) -> bool:
    """Bring back the marker of a training that is complete here, or was set aside, and tidy; return True if it is back.

    A kill between the marker's copy and the marker leaves such a cell. The caller holds the cell's lock.
    """
    if not recover_marker(cell, study.fingerprint(cell), study.content_digest):
        return False
    tidy_finished(cell, require_done(study, cell), study.config.checkpoints.keep)
    return True


def prune_checkpoints(cell: Cell, keep: Sequence[str]) -> None:
    """Delete the checkpoint files that `checkpoints.keep` does not name; the cell is complete without them."""
    (cell.checkpoints / EPOCH_RECORDS).unlink(missing_ok=True)  # an archive beside the marker has them
    files = {"last": ("last.pt", "previous.pt"), "best": ("best.pt", decision.NAME), "final": ("final.pt",)}
    for kind, names in files.items():
        for name in names if kind not in (*keep, *cell.always_kept) else ():
            (cell.checkpoints / name).unlink(missing_ok=True)


def _temporary_files(directory: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if temporary.is_temporary(entry.name):
                yield Path(entry.path)


def _is_dead(path: Path, is_locked: bool) -> bool:
    try:
        written = path.lstat().st_mtime
    except OSError:
        return False  # gone meanwhile
    writer = temporary.writer_of(path)
    if writer is not None and writer.machine == temporary.machine():
        return not process_lives(writer.pid, written + START_SLACK_SECONDS)
    return is_locked or time.time() - written > FOREIGN_SECONDS


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
