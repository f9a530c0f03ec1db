"""Sender process of a trainer: writes heartbeats to its journal, sends the journal, and finds competing runs.

A competing run is one of the same cell in another directory. The trainer itself never touches the network. On a node
without one the journal is written all the same, and another process sends it (see `sync`).
"""

import argparse
import os
import sys
import time
from pathlib import Path

from resomap.core.logging import lose_words_on_full_disk
from resomap.tracking.journal import Journal, events_from
from resomap.tracking.refusals import TrackerRefusal
from resomap.tracking.sender import URI_VARIABLE, Busy, Sender, error_text, is_sent
from resomap.tracking.system_metrics import Machine

POLL_SECONDS = 1.0
RETRY_SECONDS = 15.0
MAX_LAST_TRIES = 3
NICENESS = 10  # the trainer needs the processor more


class SenderProcess:
    """Sender process of one attempt of the trainer `parent`, which must be this process's parent."""

    def __init__(
        self, sender: Sender, journal: Path, parent: int, heartbeat_seconds: float, finds_competing_run: bool
    ) -> None:
        self._sender, self._path, self._parent = sender, journal, parent
        self._heartbeat_seconds, self._finds_competing_run = heartbeat_seconds, finds_competing_run
        self._journal = Journal(journal, is_shared=True)
        self._machine = Machine(parent)
        self._read_offset, self._last_kind, self._heartbeats = 0, "", 0
        self._next_heartbeat = self._next_search = self._next_send = 0.0
        self._has_warned = self._is_refused = self._has_warned_of_refusal = False

    def run(self) -> bool:
        """Run until the attempt has ended, or the trainer is gone; return True if everything was sent."""
        failures = 0
        while True:
            # Read before sending, so that all that the trainer wrote until then is sent.
            is_alive = os.getppid() == self._parent
            is_over = self._has_ended() or not is_alive
            if not is_over:
                self._write_heartbeat()
            if is_over or time.monotonic() >= self._next_send:
                failures = 0 if self._send(and_search=self._finds_competing_run and not is_over) else failures + is_over
            if is_over and (is_sent(self._path) or not is_alive or self._is_refused or failures >= MAX_LAST_TRIES):
                return is_sent(self._path)
            time.sleep(POLL_SECONDS)

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


def main() -> int:
    """Run `python -m resomap.tracking.sender_process`, which a trainer starts for its own journal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--heartbeat-seconds", type=float, required=True, help="between two heartbeats")
    parser.add_argument("--find-competing-run", action="store_true", help="give way to the same training elsewhere")
    given = parser.parse_args()
    os.nice(NICENESS)
    lose_words_on_full_disk()  # the output is the cell's log
    sender = Sender(given.journal, os.environ[URI_VARIABLE], given.experiment)
    is_all_sent = SenderProcess(
        sender, given.journal, given.parent, given.heartbeat_seconds, given.find_competing_run
    ).run()
    return 0 if is_all_sent else 1


if __name__ == "__main__":
    sys.exit(main())
