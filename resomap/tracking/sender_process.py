"""The process beside a trainer: notes heartbeats in its journal, sends the journal, looks for others at the same cell.

The trainer itself never touches the network. On a node without one the journal fills up all the same, and another
process sends it (see `sync`).
"""

import argparse
import os
import sys
import time
from pathlib import Path

from resomap.tracking.journal import Journal, events_from
from resomap.tracking.sender import Busy, Sender, in_words, is_sent
from resomap.tracking.system_metrics import Machine

POLL_SECONDS = 1.0
RETRY_SECONDS = 15.0
LAST_TRIES = 3
NICE = 10  # the trainer needs the processor more


class Companion:
    """Goes with one attempt of the trainer `parent`, which must be this process's parent."""

    def __init__(self, sender: Sender, journal: Path, parent: int, beat_seconds: float, looks_around: bool) -> None:
        self._sender, self._path, self._parent = sender, journal, parent
        self._beat_seconds, self._looks_around = beat_seconds, looks_around
        self._journal = Journal(journal, is_shared=True)
        self._machine = Machine(parent)
        self._read_to, self._last_kind, self._beats = 0, "", 0
        self._beat_at = self._look_at = self._send_at = 0.0
        self._trouble = False

    def run(self) -> bool:
        """Stay until the attempt has ended, or the trainer is gone; True where everything arrived."""
        failures = 0
        while True:
            # Looked at before sending: what the trainer wrote until then is sent.
            is_alive = os.getppid() == self._parent
            is_over = self._has_ended() or not is_alive
            if not is_over:
                self._beat()
            if is_over or time.monotonic() >= self._send_at:
                failures = 0 if self._send(and_look=self._looks_around and not is_over) else failures + is_over
            if is_over and (is_sent(self._path) or not is_alive or failures >= LAST_TRIES):
                return is_sent(self._path)
            time.sleep(POLL_SECONDS)

    def _has_ended(self) -> bool:
        """Whether the attempt's end is in the journal; reads what is new in it."""
        for event, after in events_from(self._path, self._read_to):
            self._read_to = after
            self._beats += event["kind"] == "beat"
            if event["kind"] in ("start", "end"):
                self._last_kind = event["kind"]
        return self._last_kind == "end"

    def _beat(self) -> None:
        if time.monotonic() >= self._beat_at:
            self._journal.beat(self._beats + 1, self._machine.sample())
            self._beat_at = time.monotonic() + self._beat_seconds

    def _send(self, and_look: bool) -> bool:
        """False where the tracker did not take it."""
        try:
            self._sender.send()
            if and_look and time.monotonic() >= self._look_at:
                self._sender.look_around()
                self._look_at = time.monotonic() + self._beat_seconds
        except Busy:
            return True  # whoever is at it sends the same
        except Exception as error:
            # Whatever the tracker does, the journal keeps it; the next call goes on from there.
            self._send_at = time.monotonic() + RETRY_SECONDS
            if not self._trouble:
                print(f"tracker: {in_words(error)}; training goes on, what is unsent waits in {self._path}", flush=True)
            self._trouble = True  # one line an attempt
            return False
        return True


def main() -> int:
    """`python -m resomap.tracking.sender_process`: started by a trainer for its own journal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--beat", type=float, required=True, help="seconds between two heartbeats")
    parser.add_argument("--look-around", action="store_true", help="give way to the same cell elsewhere")
    given = parser.parse_args()
    os.nice(NICE)
    sender = Sender(given.journal, given.uri, given.experiment)
    arrived = Companion(sender, given.journal, given.parent, given.beat, given.look_around).run()
    return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main())
