"""Fork server: a process that imports torch once and forks for each training of a run on CPUs.

The bits of a training are those of a process of its own: before the fork nothing is computed, so that no thread of a
library is left behind and no random number drawn. What a library reads once when it is loaded must be the same in the
job (`THREAD_VARIABLES`), or the job trains itself. A training ends with its stand-in (see `resomap.core.fork_client`)
and with this process; this process ends with the run.
"""

import ctypes
import gc
import importlib
import io
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resomap.cells.presence import lives, run_name
from resomap.cli import main as run_command
from resomap.core.fork_client import LINE_LIMIT, THREAD_VARIABLES

POLL_SECONDS = 0.1
REQUEST_SECONDS = 10.0
PR_SET_PDEATHSIG = 1  # prctl(2)
PRELOADED = (
    "resomap.commands.train",
    "resomap.commands.attempts",
    "resomap.train.attempt",
    "resomap.train.training",
    "resomap.evaluation.evaluation_writer",
)


class ForkServer:
    """Fork server on a listening socket, of the run named `run`."""

    def __init__(self, listener: socket.socket, run: str) -> None:
        self._listener, self._run = listener, run
        self._jobs: dict[int, socket.socket] = {}  # connection to the stand-in of each process
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> Callable[[], int] | None:
        """Serve until the run has ended; return what there is to do in a process that was forked, None in this one."""
        while self._jobs or lives(self._run):
            for key, _ in self._selector.select(POLL_SECONDS):
                if key.fileobj is not self._listener:
                    self._kill(key.data)
                elif (job := self._accept()) is not None:
                    return job
            self._reap()
        return None

    def _kill(self, pid: int) -> None:
        """End a process whose stand-in has been killed."""
        if (connection := self._jobs.get(pid)) is not None:
            self._selector.unregister(connection)
            os.kill(pid, signal.SIGKILL)  # it is not reaped yet, so the number is its own

    def _reap(self) -> None:
        for pid, connection in list(self._jobs.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._jobs[pid]
                if connection in {key.fileobj for key in self._selector.get_map().values()}:
                    self._selector.unregister(connection)
                answer(connection, status=status)
                connection.close()

    def _accept(self) -> Callable[[], int] | None:
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_SECONDS)
        descriptors: list[int] = []
        try:
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
            with connection.makefile("rb") as stream:
                request = json.loads(stream.readline(LINE_LIMIT))
            if not is_ours(connection) or not fits(request["environment"]) or len(descriptors) != 3:
                connection.close()
                return None
            if (pid := os.fork()) == 0:
                self._listener.close()
                self._selector.close()
                for other in (connection, *self._jobs.values()):
                    other.close()
                return in_place_of(request, descriptors)
            self._jobs[pid] = connection
            self._selector.register(connection, selectors.EVENT_READ, pid)
            answer(connection, pid=pid)
        except (OSError, ValueError, KeyError, TypeError):
            connection.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return None


def answer(connection: socket.socket, **content: int) -> None:
    """Tell a stand-in; one that has ended is told nothing."""
    try:
        connection.sendall(json.dumps(content).encode() + b"\n")
    except OSError:
        return


def is_ours(connection: socket.socket) -> bool:
    """Return True if the other side belongs to the same user."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.getuid())


def fits(environment: Mapping[str, str]) -> bool:
    """Return True if libraries would have been loaded here as they would be in a job with this environment."""
    return all(environment.get(name) == os.environ.get(name) for name in THREAD_VARIABLES)


def in_place_of(request: Mapping[str, Any], descriptors: list[int]) -> Callable[[], int]:
    """Make a forked process the job's and return its work; where that fails, end it."""
    try:
        die_with_parent()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.chdir(request["directory"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [sys.argv[0], *request["words"]]
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "rb", closefd=False)))
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "wb", closefd=False)), line_buffering=True)
            for number in (1, 2)
        )
        importlib.import_module("numpy").random.seed()  # Python's own generator does that by itself
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    return lambda: run_command(request["words"])


def die_with_parent() -> None:
    """Have the kernel end this process with the one that forked it."""
    server = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server or server == 1:
        raise RuntimeError("the fork server has ended")


def main() -> int:
    """Run `python -m resomap.fork_server SOCKET`, which the first training of a run starts.

    The socket's folder is its own, and goes with it.
    """
    path = Path(sys.argv[1])
    mask = os.umask(0o077)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        os.umask(mask)
        listener.listen()
        for name in PRELOADED:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()
        job = ForkServer(listener, run_name()).serve()
        if job is None:
            shutil.rmtree(path.parent, ignore_errors=True)
    return 0 if job is None else job()


if __name__ == "__main__":
    sys.exit(main())
