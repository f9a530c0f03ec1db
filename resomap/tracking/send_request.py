"""Requests to the sender process: a trainer asks that its journal be sent while it trains.

All trainings of a run on one machine share one sender process, because each of its own would import MLflow anew. A
folder below `.resomap/senders/` belongs to the main Snakemake process, or to a trainer that was started alone. In it
lies a file for each request, whose lock its trainer holds: the kernel lets go of it however that process ends. Whoever
asks first starts the sender process; who finds it killed starts another.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from resomap.cells.presence import lives, own_name, run_here
from resomap.cells.study import STATE_DIRECTORY
from resomap.core.errors import NO_ROOM
from resomap.core.files import open_own, read_json
from resomap.core.json_object import known_values
from resomap.core.temporary import machine, temporary_beside

PLACES = STATE_DIRECTORY / "senders"
REQUESTS = "*.json"
POLL_SECONDS = 0.1
STOP_SECONDS = 2.0  # for whoever serves a request that was withdrawn
LOOK_SECONDS = 10.0  # between two looks whether the sender process lives
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class SendRequest:
    """Request that a journal be sent; of one attempt. Paths start at the working directory."""

    journal: str
    experiment: str
    log: str  # of the cell, in which the sender's sentences stand
    trainer: int  # process number
    heartbeat_seconds: float
    finds_competing_run: bool
    visible_gpus: str | None = None

    @classmethod
    def read(cls, path: Path) -> "SendRequest | None":
        """Return the request in a file; None where there is none, or no whole one."""
        known = known_values(cls, read_json(path))
        return None if known is None else cls(**known)


@contextlib.contextmanager
def gate() -> Iterator[None]:
    """Hold the lock under which requests are made, and under which a sender process without any ends."""
    PLACES.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_own(PLACES / "gate.lock", os.O_WRONLY | os.O_CREAT), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Sending:
    """Request of this process, until it is withdrawn or the process ends.

    `environment` is that of a sender process that has to be started: credentials stand on no disk.
    """

    def __init__(self, request: SendRequest, environment: Mapping[str, str]) -> None:
        self._request, self._environment = request, environment
        run = run_here()
        self._is_shared = run is not None  # with the other trainings of the run
        self._place = PLACES / (run or own_name())
        self._path: Path | None = None
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None  # where this process started it
        self._next_look = 0.0
        self.look_after()

    def look_after(self) -> None:
        """Have the journal sent by somebody, also where that one was killed. A full disk is tried again later."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            with gate():
                self._place.mkdir(exist_ok=True)
                if self._path is None or not self._path.exists():
                    self.withdraw()
                    self._ask()
                self._start_where_none_serves()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise

    def wait(self, seconds: float) -> None:
        """Wait until all is sent or given up for now, at most so long; then withdraw the request.

        Whoever serves it then stops, for which it waits too: who moves the study next is not to meet a half-made file.
        """
        end = time.monotonic() + seconds
        while self._path is not None and self._path.exists() and time.monotonic() < end:
            if time.monotonic() >= self._next_look:
                self._next_look = time.monotonic() + LOOK_SECONDS
                with gate():
                    if self._path.exists():
                        self._start_where_none_serves()
            time.sleep(POLL_SECONDS)
        is_served = self._path is not None and self._path.exists() and served_path(self._path).exists()
        self.withdraw()
        end = time.monotonic() + STOP_SECONDS
        while is_served and self._path is not None and served_path(self._path).exists() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)

    def withdraw(self) -> None:
        """Take the request back. May be called twice."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _ask(self) -> None:
        path = self._place / f"{os.getpid()}-{time.monotonic_ns()}.json"
        temporary = temporary_beside(path)
        lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = json.dumps(asdict(self._request)).encode()
            if os.write(lock, content) < len(content):
                raise OSError(NO_ROOM[0], os.strerror(NO_ROOM[0]))
            temporary.rename(path)
        except BaseException:
            os.close(lock)
            temporary.unlink(missing_ok=True)
            raise
        self._path, self._lock = path, lock

    def _start_where_none_serves(self) -> None:
        """Start a sender process, which inherits the lock of the folder. The caller holds the gate."""
        lock = open_own(self._place / "sender.lock", os.O_WRONLY | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # one serves
        else:
            _remove_abandoned(self._place)
            command = [sys.executable, "-m", "resomap.tracking.sender_process", str(self._place), "--lock", str(lock)]
            command += ["--stay"] if self._is_shared else []
            with os.fdopen(open_own(self._place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), "w") as log:
                # A session of its own: a signal to the trainer's group must not cut off the last words to the tracker.
                self._process = subprocess.Popen(
                    command,
                    env=dict(self._environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock],
                )
        finally:
            os.close(lock)


def served_path(request: Path) -> Path:
    """Return the path of the file whose lock the process holds that serves a request."""
    return request.with_suffix(".served")


def is_held(descriptor: int) -> bool:
    """Return True while another process holds the lock of an open file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def remove_abandoned() -> None:
    """Remove the folders of processes of this machine that were killed together with their sender process."""
    if PLACES.is_dir():
        with contextlib.suppress(OSError), gate():
            _remove_abandoned()


def _remove_abandoned(own: Path | None = None) -> None:
    """Do that for all folders but one's own. The caller holds the gate."""
    for place in PLACES.glob(f"{machine()}-*"):
        if place == own or lives(place.name):
            continue
        with contextlib.suppress(OSError), (place / "sender.lock").open("a") as lock:
            if not is_held(lock.fileno()):
                shutil.rmtree(place, ignore_errors=True)
