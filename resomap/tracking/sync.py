"""Sends the journals of a directory that the tracker does not have in full: `resomap sync`, and the background sync.

The background sync is a process beside each `snakemake`: it sends what earlier runs left unsent, and, while the run
lasts, what trainings on nodes without a network write. Neither the run nor its end waits for it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from resomap.cells.marker import Marker
from resomap.cells.study import CURRENT, STATE_DIRECTORY, Study
from resomap.cells.tags import completion
from resomap.tracking.journal import SUFFIX, Journal, beside
from resomap.tracking.rest import credentials, is_remote, tracking_uri, why_unreachable
from resomap.tracking.sender import Busy, Receipt, Sender, in_words, is_sent

RESULTS = Path("results")
LOG = STATE_DIRECTORY / "sync.log"
NICE = 10


def unsent(uri: str, results: Path = RESULTS) -> list[Path]:
    """The journals of which the tracker at `uri` lacks something."""
    journals = sorted(results.glob(f"*/*{SUFFIX}"))
    return [path for path in journals if not is_sent(path, uri) or _without_end(path)]


def send_all(study: Study, results: Path = RESULTS) -> int:
    """Send what is unsent; prints one line a journal, returns 0 where everything arrived, else 1."""
    uri = tracking_uri(study.config.tracking)
    os.environ.update(credentials(study.config.tracking))
    waiting = unsent(uri, results)
    if not waiting:
        print(f"nothing to send: the tracker {uri} has everything")
        return 0
    return 0 if _send(study, uri, waiting) else 1


def start_background_sync(study: Study, path: Path) -> "subprocess.Popen[bytes]":
    """Start the background sync of this process, which reads the study from `path` and goes when we are gone."""
    command = [sys.executable, "-m", "resomap.tracking.sync", "--study", str(path), "--parent", str(os.getpid())]
    STATE_DIRECTORY.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **credentials(study.config.tracking)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def accompany(study: Study, parent: int) -> None:
    """Send while the process `parent`, which must be ours, lives, and once more when it is gone."""
    uri = tracking_uri(study.config.tracking)
    while True:
        is_last = os.getppid() != parent
        if waiting := unsent(uri):
            _send(study, uri, waiting)
        if is_last:
            return
        end = time.monotonic() + study.config.tracking.heartbeat_seconds
        while time.monotonic() < end and os.getppid() == parent:
            time.sleep(min(1.0, study.config.tracking.heartbeat_seconds))


def _send(study: Study, uri: str, journals: Iterable[Path]) -> bool:
    """Whether all of it arrived. Stops at the first one where the tracker turns out to be away."""
    config, arrived = study.config, True
    looks_around = is_remote(config.tracking) and config.skip_completed
    for journal in journals:
        _end_what_is_complete(journal)
        try:
            sender = Sender(journal, uri, config.experiment)
            print(f"sent {journal} as run {sender.send()}", flush=True)
            if looks_around:
                sender.look_around()
        except Busy:
            print(f"{journal} is being sent by its training", flush=True)
        except Exception as error:  # a tracker fails in many ways; the journal stays, the next call goes on
            arrived = False
            print(f"not sent: {journal} ({in_words(error)})", file=sys.stderr, flush=True)
            if (reason := why_unreachable(config.tracking)) is not None:
                print(f"the others wait too: {reason}", file=sys.stderr, flush=True)
                return False
    return arrived


def _without_end(journal: Path) -> Marker | None:
    """The marker of a training that was killed after it was complete and before it said so: it came back since."""
    receipt = Receipt.read(journal)
    if receipt is None or not receipt.is_open:
        return None
    marker = Marker.read(beside(journal, "done"))
    return marker if marker is not None and marker.uid == receipt.uid else None


def _end_what_is_complete(journal: Path) -> None:
    if marker := _without_end(journal):
        book = Journal(journal)
        book.end("FINISHED", completion(marker))
        book.close()


def main() -> int:
    """`python -m resomap.tracking.sync`: the background sync."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", type=Path, default=CURRENT)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    os.nice(NICE)
    accompany(Study.load(given.study), given.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
