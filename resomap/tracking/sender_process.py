"""Sender process of a run on one machine: heartbeats of its trainings, their journals sent, competing runs found.

It imports MLflow once and forks a process for each request (see `send_request`), so that a tracker that is slow for one
training holds up no other. A competing run is one of the same cell in another directory. The trainer itself never
touches the network. On a node without one the journal is written all the same, and another process sends it (see
`sync`).
"""

import argparse
import fcntl
import gc
import importlib
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from resomap.cells.presence import lives
from resomap.core.logging import lose_words_on_full_disk, send_output_to
from resomap.tracking.journal import Journal, events_from
from resomap.tracking.mlflow_variables import force_variables
from resomap.tracking.refusals import TrackerRefusal
from resomap.tracking.send_request import REQUESTS, VISIBLE_GPUS, SendRequest, gate, is_held, served_path
from resomap.tracking.sender import URI_VARIABLE, Busy, Sender, error_text, is_sent
from resomap.tracking.system_metrics import Machine

POLL_SECONDS = 0.2  # at an attempt's end its trainer waits
SEND_SECONDS = 1.0
RETRY_SECONDS = 15.0
MAX_LAST_TRIES = 3
NICENESS = 10  # the trainer needs the processor more


class JournalSending:
    """Sending of the journal of one attempt; `trainer_lives` tells whether its trainer still wants it."""

    def __init__(self, sender: Sender, request: SendRequest, trainer_lives: Callable[[], bool]) -> None:
        self._sender, self._path, self._trainer_lives = sender, Path(request.journal), trainer_lives
        self._heartbeat_seconds = request.heartbeat_seconds
        self._finds_competing_run = request.finds_competing_run
        self._journal = Journal(self._path, is_shared=True)
        self._machine = Machine(request.trainer)
        self._read_offset, self._last_kind, self._heartbeats = 0, "", 0
        self._next_heartbeat = self._next_search = self._next_send = 0.0
        self._has_warned = self._is_refused = self._has_warned_of_refusal = False

    def run(self) -> bool:
        """Run until the attempt has ended, or the trainer is gone; return True if everything was sent."""
        failures = 0
        while True:
            # Read before sending, so that all that the trainer wrote until then is sent.
            is_alive = self._trainer_lives()
            is_over = self._has_ended() or not is_alive
            if not is_over:
                self._write_heartbeat()
            if is_over or time.monotonic() >= self._next_send:
                failures = 0 if self._send(and_search=self._finds_competing_run and not is_over) else failures + is_over
            if is_over and (is_sent(self._path) or not is_alive or self._is_refused or failures >= MAX_LAST_TRIES):
                return is_sent(self._path)
            time.sleep(SEND_SECONDS if is_over else POLL_SECONDS)

    def beat(self) -> None:
        """Write a heartbeat where one is due, without sending it."""
        if not self._has_ended():
            self._write_heartbeat()

    def _has_ended(self) -> bool:
        """Read the new events of the journal; return True if its latest attempt has ended."""
        for event, after in events_from(self._path, self._read_offset):
            self._read_offset = after
            self._heartbeats += event["kind"] == "beat"
            if event["kind"] in ("start", "end"):
                self._last_kind = event["kind"]
        return self._last_kind == "end"

    def _write_heartbeat(self) -> None:
        if time.monotonic() >= self._next_heartbeat:
            self._journal.heartbeat(self._heartbeats + 1, self._machine.sample())
            self._next_heartbeat = time.monotonic() + self._heartbeat_seconds

    def _send(self, and_search: bool) -> bool:
        """Send the journal, and search for a competing run where due; return False if the tracker failed."""
        self._next_send = time.monotonic() + SEND_SECONDS
        try:
            self._sender.send()
            if and_search and time.monotonic() >= self._next_search:
                self._sender.find_competing_run()
                self._next_search = time.monotonic() + self._heartbeat_seconds
        except Busy:
            return True  # the other process sends the same
        except Exception as error:
            # Whatever the tracker does, the journal keeps it; the next call goes on from there.
            self._next_send = time.monotonic() + RETRY_SECONDS
            self._is_refused = isinstance(error, TrackerRefusal)
            if not self._has_warned or self._is_refused > self._has_warned_of_refusal:
                print(
                    f"tracker: {error_text(error)}; training goes on, what is unsent waits in {self._path}", flush=True
                )
            self._has_warned = True  # one line an attempt, and one for a refusal that lasts
            self._has_warned_of_refusal |= self._is_refused
            return False
        self._is_refused = False
        return True


class SenderProcess:
    """Sender process: forks one process for each request in the folder `place`. `lock` is its descriptor's lock.

    With `stays` it lives as long as the main Snakemake process, so that the next training finds it; without, until no
    request is left.
    """

    def __init__(self, place: Path, lock: int, stays: bool) -> None:
        self._place, self._lock, self._stays = place, lock, stays
        self._served: dict[int, Path] = {}  # request of each process that was forked

    def run(self) -> None:
        """Serve requests until none can come."""
        while not self._is_over():
            time.sleep(POLL_SECONDS)

    def _is_over(self) -> bool:
        """Serve what there is; return True where nothing is left, with the folder removed."""
        self._reap()
        if self._serve() or (self._stays and lives(self._place.name)):
            return False
        with gate():  # a request that is made now finds either this process or no folder
            if self._serve():
                return False
            shutil.rmtree(self._place, ignore_errors=True)
        return True

    def _reap(self) -> None:
        """Take note of ended processes, and end those whose request is withdrawn.

        However one ended, its request is done with: `resomap sync` sends the rest.
        """
        for pid, path in list(self._served.items()):
            if os.waitpid(pid, os.WNOHANG)[0]:
                path.unlink(missing_ok=True)
                served_path(path).unlink(missing_ok=True)
                del self._served[pid]
            elif not path.exists():  # withdrawn, since its trainer waits no longer
                os.kill(pid, signal.SIGTERM)

    def _serve(self) -> int:
        """Fork a process for each new request; return the number of requests that are being served."""
        for path in set(self._place.glob(REQUESTS)) - set(self._served.values()):
            request = SendRequest.read(path)
            if request is None:
                path.unlink(missing_ok=True)
                continue
            served = os.open(served_path(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(served, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a process of a sender process before this one, which was killed
                os.close(served)
                continue
            if (pid := os.fork()) == 0:
                os.close(self._lock)
                end_after(lambda path=path, request=request: answer(path, request))  # type: ignore[misc]
            os.close(served)
            self._served[pid] = path
        return len(self._served) + len(set(self._place.glob(REQUESTS)) - set(self._served.values()))


def end_after(work: Callable[[], object]) -> NoReturn:
    """Do the work of a forked process and end it, without the clean-up of the process that it was forked from."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(path: Path, request: SendRequest) -> None:
    """Serve one request until its attempt has ended; then remove it, for which its trainer waits."""
    send_output_to(Path(request.log))
    if request.visible_gpus is None:
        os.environ.pop(VISIBLE_GPUS, None)
    else:
        os.environ[VISIBLE_GPUS] = request.visible_gpus
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # it has been withdrawn
    sender = Sender(Path(request.journal), os.environ[URI_VARIABLE], request.experiment)
    try:
        JournalSending(sender, request, lambda: is_held(descriptor)).run()
    finally:
        path.unlink(missing_ok=True)


def preload() -> None:
    """Import what all requests need, and nothing that begins a thread or opens a file."""
    force_variables()
    for name in ("mlflow.store.tracking.sqlalchemy_store", "resomap.tracking.run_figures"):
        with suppress(ImportError):  # said where it is used
            importlib.import_module(name)
    gc.freeze()


def main() -> int:
    """Run `python -m resomap.tracking.sender_process`, which a trainer starts (see `send_request`)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path, help="the folder of the requests")
    parser.add_argument("--lock", type=int, required=True, help="descriptor of the folder's lock, which is held")
    parser.add_argument("--stay", action="store_true", help="live as long as the main process of the run")
    given = parser.parse_args()
    os.set_inheritable(given.lock, False)
    os.nice(NICENESS)
    lose_words_on_full_disk()
    # The imports take seconds, in which a short training may end.
    for path in given.place.glob(REQUESTS):
        if (request := SendRequest.read(path)) is not None:
            sender = Sender(Path(request.journal), os.environ[URI_VARIABLE], request.experiment)
            JournalSending(sender, request, lambda: True).beat()
    preload()
    SenderProcess(given.place, given.lock, given.stay).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
