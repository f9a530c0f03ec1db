"""Cells that are trained, or were finished, in another working directory, as the tracker knows them.

`<stem>.elsewhere.json` beside the marker keeps them for those who do not ask the tracker themselves: the trainer, which
gives way, the status table and the lines of a sweep. Runs count as alive while their heartbeat is fresh.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.liveness import age_words, is_fresh
from resomap.cells.marker import Marker
from resomap.cells.tags import Tag, equals, heartbeat_of, host_of
from resomap.config.schema import Tracking
from resomap.core.files import read_json, write_json
from resomap.core.json_object import known_values
from resomap.tracking.directory_id import directory_id
from resomap.tracking.journal import beside
from resomap.tracking.run_search import run_tags, search_runs

# A run whose heartbeat is older is dead. The longest interval that the configuration allows fits in twice.
STALE_SECONDS = 120.0
MAX_RUNS = 1000  # runs looked at: those that were killed stay RUNNING for ever, and must not make the answer endless


@dataclass(frozen=True)
class Elsewhere:
    """Run of a cell with the same settings in another directory. Times are Unix times in seconds."""

    fingerprint: str
    run_id: str
    host: str
    heartbeat: float
    seen_at: float
    marker: Marker | None = None  # of a run that is complete; None: it runs

    def __str__(self) -> str:
        if self.marker:
            return f"finished on {self.host} (run {self.run_id[:8]})"
        return f"running on {self.host} (run {self.run_id[:8]}, heartbeat {age_words(self.heartbeat)})"

    @property
    def is_fresh(self) -> bool:
        """True if its last heartbeat shows that it lives (see `resomap.cells.liveness`)."""
        return is_fresh(f"run {self.run_id}", self.heartbeat, STALE_SECONDS)

    def write(self, path: Path) -> None:
        """Write atomically. Raises OSError."""
        write_json(path, {**vars(self), "marker": self.marker.as_json() if self.marker else None})

    @classmethod
    def read(cls, path: Path) -> "Elsewhere | None":
        """Return the run noted in a file, or None where there is none or the file is damaged."""
        known = known_values(cls, read_json(path))
        return None if known is None else cls(**known)


def note_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.elsewhere.json`."""
    return cell.beside_marker("elsewhere.json")


def note_path_of_journal(journal: Path) -> Path:
    """Return the same path, where only the cell's journal is known."""
    return beside(journal, "elsewhere.json")


def competes(tags: Mapping[str, str], own_id: str, content_digest: str | None = None) -> bool:
    """Return True if a run with these tags is of another directory and saw the same image contents, as far as known."""
    theirs = tags.get(Tag.CONTENT_DIGEST)
    return tags.get(Tag.PLACE) != own_id and (not theirs or not content_digest or theirs == content_digest)


def running_elsewhere(
    tracking: Tracking, experiment: str, base: str, wanted: Mapping[Cell, str]
) -> dict[Cell, Elsewhere]:
    """Return the wanted cells (with their fingerprints) that another directory trains right now, by its heartbeat.

    One bounded query by plain REST. Raises TrackerUnavailable.
    """
    runs_now = f"attributes.status = 'RUNNING' and {equals(Tag.BASE, base)}"
    found = search_runs(tracking, experiment, runs_now, MAX_RUNS, tracking.timeout_seconds)
    return _fresh_runs(islice(found, MAX_RUNS), wanted)


def _fresh_runs(runs: Iterable[Mapping[str, Any]], wanted: Mapping[Cell, str]) -> dict[Cell, Elsewhere]:
    cell_of = {fingerprint: cell for cell, fingerprint in wanted.items()}
    own_id, found = directory_id(), {}
    for run in runs:
        tags = run_tags(run)
        cell = cell_of.get(tags.get(Tag.FINGERPRINT, ""))
        if cell is not None and competes(tags, own_id):
            other = from_tags(str(run["info"].get("run_id")), tags)
            if other.is_fresh:
                found[cell] = other
    return found


def from_tags(run_id: str, tags: Mapping[str, str], marker: Marker | None = None) -> Elsewhere:
    """Return the run that these tags are of."""
    heartbeat = heartbeat_of(tags) or 0.0
    return Elsewhere(tags.get(Tag.FINGERPRINT, ""), run_id, host_of(tags), heartbeat, time.time(), marker)
