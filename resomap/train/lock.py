"""One trainer a cell: an flock that dies with its holder, and a note that says who holds it."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resomap.cell import Cell
from resomap.errors import ResomapError
from resomap.study import STATE_DIRECTORY


@contextmanager
def cell_lock(
    cell: Cell, say: Callable[[str], None] = print, wait: bool = True, poll_seconds: float = 1.0
) -> Iterator[None]:
    """Hold the cell's lock; where another process has it, say for whom we wait, and wait.

    Without `wait` that is a ResomapError.

    The kernel releases an flock when its holder ends, however it ends, so there is no stale lock to clean up. The
    file lies outside the cell's directories, because those are moved when settings change.
    """
    path = STATE_DIRECTORY / "locks" / f"{cell.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        waiting = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait:
                    raise ResomapError(f"{cell.name} is being trained by {_holder(path)}; stop that first") from None
                if not waiting:
                    say(f"{cell.name} is being trained by {_holder(path)}; waiting for it to end")
                    waiting = True
                time.sleep(poll_seconds)
        os.ftruncate(descriptor, 0)
        note = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        return f"process {note['pid']} on {note['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
