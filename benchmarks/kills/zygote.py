"""Zygote: a process that has imported what the steps of a study import, and forks a process for each call of one.

A step that is called so begins where a whole process of its own has done its imports: nothing was computed before the
fork, no thread was begun, no random number drawn (see `resomap.fork_server`, which does so for the trainings of a run).
The kill is as real: the forked process is the one that the hook ends. A training's sender process, which imports for
seconds too, is forked likewise; it is a child of the zygote, and outlives its training as it does otherwise.

What a forked process shares with its siblings and a whole one does not: the seed of Python's hashes, the index of
installed models and the list of packages. So a campaign also kills whole processes now and then.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.util
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

from resomap.core.fork_client import LINE_LIMIT
from resomap.fork_server import PRELOADED, die_with_parent, in_place_of
from resomap.models.survey import installed_models
from resomap.tracking import provenance, send_request, sender_process

HOOK, ROOT = Path(__file__).with_name("hook"), Path(__file__).parents[2]
SENDER = "resomap.tracking.sender_process"
# What the steps import while they run, besides what a training does.
ALSO_PRELOADED = (
    "resomap.tracking.sync",
    "resomap.evaluation.evaluator",
    "resomap.summary.summary_writer",
    "resomap.report.report_writer",
)
POLL_SECONDS = 0.01


class Zygote:
    """Client of a zygote, which it starts, and which ends with this process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="zygote-")
        self._path = Path(self._folder.name, "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._path))
            listener.listen()
            words = [sys.executable, "-m", "benchmarks.kills.zygote", str(listener.fileno()), str(self._path)]
            self._process = subprocess.Popen(
                words, cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()]
            )

    def close(self) -> None:
        """End the zygote, and the processes that it has forked."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def call(
        self, words: Sequence[str], place: Path, environment: Mapping[str, str], said: IO[str], seconds: float
    ) -> int | None:
        """Run `resomap` in a study's folder; return its exit code, None where it does not end in time."""
        with _asked(self._path, ["resomap", *words], place, environment, [said, said]) as stream:
            return _status(stream, seconds)


def _asked(
    path: Path, words: Sequence[str], place: Path, environment: Mapping[str, str], said: Sequence[IO[str]], *passed: int
) -> socket.socket:
    """Ask a zygote for a process; return the connection on which it tells how that one ended."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    request = {"words": list(words), "directory": str(place), "environment": dict(environment), "umask": 0o022}
    with Path(os.devnull).open() as nothing:
        descriptors = [nothing.fileno(), *(each.fileno() for each in said), *passed]
        socket.send_fds(connection, [b"."], descriptors)
        connection.sendall(json.dumps({**request, "passed": list(passed)}).encode() + b"\n")
    return connection


def _status(connection: socket.socket, seconds: float | None) -> int | None:
    connection.settimeout(seconds)
    try:
        return int(json.loads(connection.makefile("rb").readline(LINE_LIMIT))["status"])
    except TimeoutError:
        return None


class Server:
    """The zygote itself, on a listening socket."""

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self._listener, self._path = listener, path
        self._served: dict[int, socket.socket] = {}  # connection of each process
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> Callable[[], int]:
        """Serve until this process is a forked one; return what there is to do in it."""
        while True:
            if self._selector.select(POLL_SECONDS if self._served else None) and (work := self._accept()):
                return work
            self._reap()

    def _reap(self) -> None:
        for pid, connection in list(self._served.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._served[pid]
                with connection, contextlib.suppress(OSError):  # who asked may have been killed
                    connection.sendall(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode() + b"\n")

    def _accept(self) -> Callable[[], int] | None:
        connection, _ = self._listener.accept()
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 8)
        with connection.makefile("rb") as stream:
            line = stream.readline(LINE_LIMIT)
        if not line.endswith(b"\n"):  # it was killed while it asked
            connection.close()
        elif (pid := os.fork()) == 0:
            self._selector.close()
            for other in (self._listener, connection, *self._served.values()):
                other.close()
            return _become(json.loads(line), descriptors, self._path)
        else:
            self._served[pid] = connection
        for descriptor in descriptors:
            os.close(descriptor)
        return None


def _become(request: Mapping[str, Any], descriptors: list[int], path: Path) -> Callable[[], int]:
    """Make a forked process the one that was asked for; return its work."""
    in_place_of(request, descriptors[:3])
    try:
        program, *words = request["words"]
        sys.argv = [program, *words]
        # The descriptors that a command line names get their numbers; those that came in their place get others.
        held = [os.dup(descriptor) for descriptor in descriptors[3:]]
        for descriptor in descriptors:
            os.close(descriptor)
        for descriptor, number in zip(held, request["passed"], strict=True):
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
        if program == SENDER:
            os.setsid()
            return sender_process.main
        send_request.subprocess = SimpleNamespace(Popen=_sender_starter(path), DEVNULL=subprocess.DEVNULL)  # type: ignore[attr-defined]
        if "RESOMAP_KILLS" in os.environ:
            _install_hook()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    return lambda: importlib.import_module("resomap.cli").main(words)


def _sender_starter(path: Path) -> Callable[..., object]:
    """Return what stands for `subprocess.Popen` where a training starts its sender process."""

    def start(
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: IO[str],
        stderr: IO[str],
        pass_fds: Sequence[int],
        **_: object,
    ) -> socket.socket:
        assert list(command[1:3]) == ["-m", SENDER], command
        return _asked(path, command[2:], Path.cwd(), env, [stdout, stderr], *pass_fds)

    return start


def _install_hook() -> None:
    found = importlib.util.spec_from_file_location("kill_hook", HOOK / "sitecustomize.py")
    assert found is not None
    assert found.loader is not None
    found.loader.exec_module(importlib.util.module_from_spec(found))


def main() -> NoReturn:
    """Run `python -m benchmarks.kills.zygote DESCRIPTOR SOCKET`, which a campaign starts."""
    die_with_parent()
    listener, path = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    sender_process.preload()
    for name in (*PRELOADED, *ALSO_PRELOADED):
        importlib.import_module(name)
    importlib.import_module("resomap.cli").parser()  # imports each subcommand
    installed_models()  # keeps its answer
    provenance.packages = functools.cache(provenance.packages)
    provenance.packages()
    gc.collect()
    gc.freeze()
    end(Server(listener, path).serve())


def end(work: Callable[[], int]) -> NoReturn:
    """Do the work of a forked process and end it with its exit code.

    Threads end, exit handlers run and words are written as they are otherwise. What Python does after that touches
    each object of the zygote, and so each page of its memory: 1 to 2 s, in which no file is written.
    """
    code: object = 1
    try:
        code = work()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
