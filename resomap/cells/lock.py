"""Locks of cells and steps: an flock, so that one process at a time trains a cell; a heartbeat for other machines.

The kernel releases an flock however its holder ends, so on one machine there is no stale lock. On a shared disk an
flock may not reach other machines (Lustre without `-o flock`, some NFS mounts); there the content of the lock file
decides: a holder on another host counts as long as its heartbeat is fresh, and it empties the file when it ends.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.liveness import age_words, is_fresh
from resomap.cells.study import STATE_DIRECTORY
from resomap.core.errors import Interrupted, ResomapError
from resomap.core.files import open_own, read_json
from resomap.core.json_object import known_values

HEARTBEAT_SECONDS = 15.0
# Longer than a heartbeat takes to show on a network file system with attribute caching (60 s by default on NFS).
STALE_SECONDS = 120.0
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Holder:
    """Process that a lock file names as the trainer of the cell. Times are Unix times in seconds."""

    host: str
    pid: int
    heartbeat: float

    @classmethod
    def read(cls, path: Path) -> "Holder | None":
        """Return the holder that a lock file names, or None."""
        known = None
        with contextlib.suppress(OSError):
            known = known_values(cls, read_json(path))
        return None if known is None else cls(**known)

    @property
    def is_alive_elsewhere(self) -> bool:
        """True if it is on another machine and its heartbeat is fresh; on this one the flock tells."""
        return self.host != socket.gethostname() and is_fresh(f"lock of {self.process}", self.heartbeat, STALE_SECONDS)

    @property
    def process(self) -> str:
        """Number and host of the process."""
        return f"process {self.pid} on {self.host}"

    def __str__(self) -> str:
        return f"{self.process} (heartbeat {age_words(self.heartbeat)})"


def lock_path(cell: Cell) -> Path:
    """Return the path of the lock file; outside the cell's directories, which are moved when settings change."""
    return STATE_DIRECTORY / "locks" / f"{cell.lock_name}.lock"


@contextmanager
def cell_lock(
    cell: Cell,
    say: Callable[[str], None] = print,
    wait: bool = True,
    poll_seconds: float = 1.0,
    stop_waiting: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the cell's lock; where another process has it, say which one, and wait for it.

    Raises ResomapError where it is held and `wait` is false, Interrupted where `stop_waiting` comes true.
    """
    path = lock_path(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        waiting = False
        while not _try_lock(descriptor, path):
            holder = Holder.read(path) or "another process"
            if not wait:
                raise ResomapError(f"{cell.name} is being trained by {holder}; stop that first")
            if stop_waiting():
                raise Interrupted(f"{cell.name} is still being trained by {holder}; nothing was begun here")
            if not waiting:
                say(f"{cell.name} is being trained by {holder}; waiting for it to end")
                waiting = True
            time.sleep(poll_seconds)
        released = threading.Event()
        heartbeat = threading.Thread(
            target=_write_heartbeats, args=(descriptor, released), name="heartbeat", daemon=True
        )
        heartbeat.start()
        try:
            yield
        finally:
            released.set()
            heartbeat.join()
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextmanager
def step_lock(step: str, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock of a step that writes files of the whole study, `images 224`; wait while another process has it.

    Where only Snakemake is killed, the step's process lives on, and the next Snakemake starts the step once more: two
    of them would write over each other's files. Without locks on the file system it goes on alone.
    """
    path = STATE_DIRECTORY / "locks" / f"{step.replace(' ', '-')}.step"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a") as stream:
        if not _takes_flock(stream.fileno()):
            say(f"another process is at the step `{step}`; waiting for it to end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _takes_flock(descriptor: int) -> bool:
    """Take the flock; return False where another process has it, True also where the file system knows no flock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    return True


def _try_lock(descriptor: int, path: Path) -> bool:
    if not _takes_flock(descriptor):
        return False
    holder = Holder.read(path)
    if holder is not None and holder.is_alive_elsewhere:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return False
    _write_note(descriptor)
    return True


def _write_heartbeats(descriptor: int, released: threading.Event) -> None:
    while not released.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):  # a full or absent disk for a while: the next heartbeat may reach it
            _write_note(descriptor)


def _write_note(descriptor: int) -> None:
    note = json.dumps(asdict(Holder(socket.gethostname(), os.getpid(), time.time())))
    # In place and of one length, so that a reader on another machine never finds half a note.
    os.pwrite(descriptor, note.encode().ljust(256), 0)
