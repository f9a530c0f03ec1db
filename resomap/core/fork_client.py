"""Client of the fork server: has a training run in a process forked from one that has imported everything.

On CPUs the trainings of a run share one process that imported torch (`resomap.fork_server`); the first training starts
it, the main Snakemake process names the socket. The job's own process stays as its stand-in: it passes signals on, ends
as the training ends, and takes it along when it is killed. Wherever that is not possible, the job trains itself, as it
does with `RESOMAP_FORK=0`. Only the standard library is imported here.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

SOCKET_VARIABLE = "RESOMAP_FORK_SERVER"  # path of the socket, set for the jobs of a run
SWITCH = "RESOMAP_FORK"  # 0: no fork server
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
# Libraries read them once, when they are loaded: a job that has others trains itself.
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"),
    *("NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "JULIA_NUM_THREADS"),
    *("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"),
    *("OMP_PROC_BIND", "OMP_PLACES", "KMP_AFFINITY", "CUDA_VISIBLE_DEVICES", "PYTHONPATH", "LD_PRELOAD"),
)
START_SECONDS = 120.0  # until a server that was started takes connections
LINE_LIMIT = 10_000_000
_LOCK = "lock"


def offer_fork_server(run: str) -> None:
    """Have the jobs of a run share a fork server. Folders of servers that were killed are removed.

    Its socket lies in a temporary folder of this user: a study's folder may be copied, and may be on a file system
    without sockets.
    """
    prefix = Path(tempfile.gettempdir(), f"resomap-fork-{os.getuid()}-")
    for folder in prefix.parent.glob(f"{prefix.name}*"):
        _remove_dead(folder)
    os.environ[SOCKET_VARIABLE] = f"{prefix}{run}/socket"


def _remove_dead(folder: Path) -> None:
    """Remove the folder of a fork server that is gone and that no job is starting."""
    with contextlib.suppress(OSError):
        if not is_own(folder):
            return
        with (folder / _LOCK).open("r+") as lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that is stopped (Ctrl-Z) takes no connection, and a call that waited for it would hang with it.
            connection.setblocking(False)
            if connection.connect_ex(str(folder / "socket")) in (errno.ECONNREFUSED, errno.ENOENT):
                shutil.rmtree(folder, ignore_errors=True)


def is_own(folder: Path) -> bool:
    """Return True for a folder of this user that nobody else may enter. Raises OSError where there is none."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def run_forked(words: Sequence[str]) -> int | None:
    """Run a command in a process of the fork server; return its exit code, or None where it is to be run here.

    Ends this process by the signal that ended the other one.
    """
    path = os.environ.get(SOCKET_VARIABLE)
    if not path or os.environ.get(SWITCH) == "0" or sys.platform != "linux":
        return None
    try:
        connection = _connected(Path(path))
    except OSError:
        return None
    return None if connection is None else _Job(connection).run(words)


class _Job:
    """Job that another process does."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._stream = connection, connection.makefile("rb")
        self._pid: int | None = None
        self._waiting: list[int] = []  # signals that arrived before the process was known

    def run(self, words: Sequence[str]) -> int | None:
        before = {number: signal.signal(number, self._pass_on) for number in PASSED_ON}
        try:
            self._ask(words)
            self._pid = self._answer().get("pid")
        except OSError:
            self._pid = None
        if self._pid is None:
            for number, handler in before.items():
                signal.signal(number, handler)
            for arrived in self._waiting:
                signal.raise_signal(arrived)
            return None
        for arrived in self._waiting:
            self._pass_on(arrived, None)
        return self._end(self._answer().get("status"))

    def _ask(self, words: Sequence[str]) -> None:
        request = {"words": list(words), "directory": os.getcwd(), "environment": dict(os.environ)}
        mask = os.umask(0)
        os.umask(mask)
        socket.send_fds(self._connection, [b"."], [0, 1, 2])
        self._connection.sendall(json.dumps({**request, "umask": mask}).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        """Return the next answer; an empty one where the server has ended."""
        try:
            return dict(json.loads(self._stream.readline(LINE_LIMIT) or b"{}"))
        except (OSError, ValueError):
            return {}

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if self._pid is None:
            self._waiting.append(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _end(self, status: int | None) -> int:
        """Return the exit code of the process, or end as it ended; where its server was killed, it was too."""
        code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
        if code < 0:
            if -code not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        return code


def _connected(path: Path) -> socket.socket | None:
    """Return a connection to the server, which is started where none is; None where that fails."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not is_own(path.parent):  # somebody else made it: who answers there may be anybody
        return None
    with (path.parent / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several that find none, one starts it
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(path))
            return connection
        path.unlink(missing_ok=True)  # of a server that was killed
        with (path.parent / "log").open("w") as log:
            server = subprocess.Popen(
                [sys.executable, "-m", "resomap.fork_server", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and server.poll() is None:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                connection.connect(str(path))
                return connection
            time.sleep(0.02)
    return None
