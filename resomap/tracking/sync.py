"""Sync of a directory's unsent journals to the tracker: `resomap sync`, and the background sync.

The background sync is a process beside each `snakemake`: it sends journals that earlier runs left unsent, and, while
the run lasts, those that trainings on nodes without a network write. Neither the run nor its end waits for it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.marker import Marker
from resomap.cells.study import CURRENT, STATE_DIRECTORY, Study
from resomap.cells.tags import completion
from resomap.core.files import open_own
from resomap.tracking.journal import Journal, beside, journals
from resomap.tracking.local_store import is_own
from resomap.tracking.lost_runs import forget_lost_runs
from resomap.tracking.refusals import TrackerRefusal
from resomap.tracking.rest import credentials, is_remote, tracking_uri, why_unreachable
from resomap.tracking.send_request import remove_abandoned
from resomap.tracking.sender import Busy, Receipt, Sender, error_text, is_sent, renew_receipt, replace_damaged_database

RESULTS = Path("results")
LOG = STATE_DIRECTORY / "sync.log"
NICENESS = 10


def unsent(uri: str, results: Path = RESULTS) -> list[Path]:
    """Return the journals of which the tracker at `uri` lacks something."""
    found = journals(results)
    for path in found:
        renew_receipt(path)
    return [path for path in found if not is_sent(path, uri) or _marker_without_end(path)]


def send_all(study: Study, results: Path = RESULTS) -> int:
    """Send all unsent journals, with one line printed for each; return 0 if everything was sent, else 1."""
    uri = tracking_uri(study.config.tracking)
    os.environ.update(credentials(study.config.tracking))
    remove_leftovers(*{journal.parent for journal in journals(results)})
    remove_abandoned()
    if is_own(uri):
        replace_damaged_database(print)
    doubt = forget_lost_runs(study.config.tracking, results)
    waiting = unsent(uri, results)
    if not waiting:
        print(f"nothing to send: the tracker {uri} has everything" + (f" as far as known: {doubt}" if doubt else ""))
        return 0
    return 0 if _send(study, uri, waiting) else 1


def start_background_sync(study: Study, path: Path) -> "subprocess.Popen[bytes]":
    """Start the background sync of this process; it reads the study from `path` and ends once this process has."""
    command = [sys.executable, "-m", "resomap.tracking.sync", "--study", str(path), "--parent", str(os.getpid())]
    STATE_DIRECTORY.mkdir(exist_ok=True)
    with os.fdopen(open_own(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **credentials(study.config.tracking)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def run_background_sync(study: Study, parent: int) -> None:
    """Send journals while the parent process `parent` lives, and once more when it has ended."""
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


def _send(study: Study, uri: str, waiting: Iterable[Path]) -> bool:
    """Send journals, up to the first at which the tracker proves unreachable; return True if all were sent."""
    config, arrived = study.config, True
    finds_competing_run = is_remote(config.tracking) and config.skip_completed
    for journal in waiting:
        _append_missing_end(journal)
        try:
            sender = Sender(journal, uri, config.experiment)
            print(f"sent {journal} as run {sender.send()}", flush=True)
            if finds_competing_run:
                sender.find_competing_run()
        except Busy:
            print(f"{journal} is being sent by its training", flush=True)
        except Exception as error:  # a tracker fails in many ways; the journal stays, the next call goes on
            arrived = False
            print(f"not sent: {journal} ({error_text(error)})", file=sys.stderr, flush=True)
            if isinstance(error, TrackerRefusal):
                print("the others wait too, until that is mended", file=sys.stderr, flush=True)
                return False
            if (reason := why_unreachable(config.tracking)) is not None:
                print(f"the others wait too: {reason}", file=sys.stderr, flush=True)
                return False
    return arrived


def _marker_without_end(journal: Path) -> Marker | None:
    """Return the marker of a journal's training that was killed when complete, before it recorded its end; else None.

    The marker was recovered since.
    """
    receipt = Receipt.read(journal)
    if receipt is None or not receipt.is_open:
        return None
    marker = Marker.read(beside(journal, "done"))
    return marker if marker is not None and marker.uid == receipt.uid else None


def _append_missing_end(journal: Path) -> None:
    if marker := _marker_without_end(journal):
        open_journal = Journal(journal)
        open_journal.end("FINISHED", completion(marker))
        open_journal.close()


def main() -> int:
    """Run the background sync: `python -m resomap.tracking.sync`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--study", type=Path, default=CURRENT)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    os.nice(NICENESS)
    run_background_sync(Study.load(given.study), given.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
