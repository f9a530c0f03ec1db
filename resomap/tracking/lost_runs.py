"""Runs that the tracker had and lost: deleted by somebody, or never complete although a receipt says so.

`resomap sync` looks for them, so that "nothing to send" is true of the tracker and not of our receipts alone.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from resomap.cells.marker import Marker
from resomap.cells.tags import Tag
from resomap.config.schema import Tracking
from resomap.tracking.answers import OneRun
from resomap.tracking.journal import beside, journals
from resomap.tracking.local_database import database_path, query
from resomap.tracking.refusals import ACTIVE
from resomap.tracking.rest import TrackerUnavailable, ask_for, is_remote, tracking_uri
from resomap.tracking.run_search import run_tags
from resomap.tracking.sender import Receipt, forget_receipt, is_sent


@dataclass(frozen=True)
class _Run:
    stage: str
    tags: Mapping[str, str]


def forget_lost_runs(tracking: Tracking, results: Path) -> str | None:
    """Forget the receipts of journals whose run the tracker does not have as it was sent, so that they are sent anew.

    Return None, or a clause on why the tracker could not be asked about all of them.
    """
    uri = tracking_uri(tracking)
    for journal in journals(results):
        receipt = Receipt.read(journal)
        if receipt is None or receipt.run_id is None or not is_sent(journal, uri):
            continue
        try:
            run = _remote_run(tracking, receipt.run_id) if is_remote(tracking) else _local_run(uri, receipt.run_id)
        except TrackerUnavailable as error:
            return str(error)
        except sqlite3.Error as error:
            return f"{database_path(uri)} cannot be read ({error})"
        if (reason := _loss(run, receipt, Marker.read(beside(journal, "done")))) is not None:
            print(f"{journal}: {reason}; it is sent anew", flush=True)
            forget_receipt(journal)
    return None


def _loss(run: _Run | None, receipt: Receipt, marker: Marker | None) -> str | None:
    if run is None:
        return "the tracker does not have its run any more"
    if run.stage != ACTIVE:
        return "somebody deleted its run in the tracker"
    if marker is not None and marker.uid == receipt.uid and not receipt.is_open and Tag.COMPLETE not in run.tags:
        return "its run has no complete tag in the tracker"
    return None


def _remote_run(tracking: Tracking, run_id: str) -> _Run | None:
    try:
        run = ask_for(OneRun, tracking, f"runs/get?run_id={quote(run_id, safe='')}").run
    except TrackerUnavailable as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return _Run(run.info.lifecycle_stage, run_tags(run.model_dump()))


def _local_run(uri: str, run_id: str) -> _Run | None:
    database = database_path(uri)
    if not database.exists():
        return None
    found = query(database, "select lifecycle_stage from runs where run_uuid = ?", [run_id])
    tags = query(database, "select key, value from tags where run_uuid = ?", [run_id])
    return _Run(str(found[0][0]), {str(key): str(value) for key, value in tags}) if found else None
