"""Which other main processes of Snakemake work in this directory, and the locks of those that were killed.

Snakemake's own lock files name no process, so after a kill -9 nobody knows whether they still mean something. Each
main process therefore holds an flock on a file of its own below `.resomap/running/`; the kernel lets go of it
however the process ends.
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resomap.cells.study import STATE_DIRECTORY

RUNNING = STATE_DIRECTORY / "running"
SNAKEMAKE_LOCKS = Path(".snakemake", "locks")


def announce() -> tuple[IO[str], bool]:
    """Make this process known; the stream that keeps it so, and whether it is the only one in the directory."""
    RUNNING.mkdir(parents=True, exist_ok=True)
    with (STATE_DIRECTORY / "running.lock").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)  # two that start at once must not each take the other for dead
        alone = not any(list(_living()))
        own = (RUNNING / str(os.getpid())).open("w")
        fcntl.flock(own, fcntl.LOCK_EX)
        return own, alone


def remove_stale_locks() -> int:
    """Delete Snakemake's lock files of this directory; how many there were. Only for a process that is alone."""
    stale = [path for path in SNAKEMAKE_LOCKS.glob("*.lock") if path.is_file()]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _living() -> Iterator[Path]:
    """Files whose lock somebody holds; those of ended processes are removed on the way."""
    for path in RUNNING.iterdir():
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path
            else:
                path.unlink(missing_ok=True)
