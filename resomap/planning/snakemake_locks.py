"""Other main processes of Snakemake in this directory, and the stale lock files of those that were killed.

Snakemake's own lock files name no process, so after a kill -9 nobody knows whether they still mean something. Each
main process therefore holds an flock on a file of its own below `.resomap/running/`; the kernel lets go of it
however the process ends.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resomap.cells.presence import RUNNING
from resomap.cells.study import STATE_DIRECTORY
from resomap.planning import second_run

SNAKEMAKE_LOCKS = Path(".snakemake", "locks")


def register_process() -> tuple[IO[str], bool]:
    """Register this process; return the stream that holds its lock, and True if it is alone in the directory."""
    RUNNING.mkdir(parents=True, exist_ok=True)
    with (STATE_DIRECTORY / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two that start at once must not each take the other for dead
        alone = not any(list(_held_files()))
        own = (RUNNING / str(os.getpid())).open("w")
        fcntl.flock(own, fcntl.LOCK_EX)
        json.dump(second_run.record(), own)
        own.flush()
        return own, alone


def remove_stale_locks() -> int:
    """Delete Snakemake's lock files of this directory; return their number. Only for a process that is alone."""
    stale = [path for path in SNAKEMAKE_LOCKS.glob("*.lock") if path.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _held_files() -> Iterator[Path]:
    """Yield the files whose lock a process holds; delete those of ended processes."""
    for path in RUNNING.iterdir():
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path
            else:
                path.unlink(missing_ok=True)
