"""A cell that is trained, or was finished, in another working directory: what the tracker tells of it.

`<stem>.elsewhere.json` beside the marker keeps it for those who do not ask the tracker themselves: the trainer, which
gives way, the status table and the lines of a sweep. Runs count as alive while their heartbeat is fresh, which
assumes clocks that agree within a minute or so.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.progress import duration
from resomap.cells.tags import Tag, equals, heartbeat_of, host_of
from resomap.config.schema import Tracking
from resomap.core.files import read_json, write_json
from resomap.tracking.directory_id import place
from resomap.tracking.journal import beside
from resomap.tracking.run_search import run_tags, search_runs

# A run whose heartbeat is older is dead. The longest interval that the configuration allows fits in twice.
STALE_SECONDS = 120.0
NEWEST = 1000  # runs looked at: those that were killed stay RUNNING for ever, and must not make the answer endless


@dataclass(frozen=True)
class Elsewhere:
    """Another run of a cell with the same settings. Times are Unix times in seconds."""

    fingerprint: str
    run_id: str
    host: str
    heartbeat: float
    seen_at: float
    marker: Marker | None = None  # of a run that is complete; None: it runs

    def __str__(self) -> str:
        if self.marker:
            return f"finished on {self.host} (run {self.run_id[:8]})"
        return f"running on {self.host} (run {self.run_id[:8]}, heartbeat {duration(self.age)} ago)"

    @property
    def age(self) -> float:
        """Seconds since its last heartbeat that we know of."""
        return max(0.0, time.time() - self.heartbeat)

    @property
    def is_fresh(self) -> bool:
        """Whether it was alive not long ago."""
        return self.age < STALE_SECONDS

    def write(self, path: Path) -> None:
        """Write atomically. Raises OSError."""
        write_json(path, {**vars(self), "marker": self.marker.as_json() if self.marker else None})

    @classmethod
    def read(cls, path: Path) -> "Elsewhere | None":
        """What is known, or None where nothing is or the file is damaged."""
        content = read_json(path)
        try:
            marker = Marker.parse(content["marker"])
            fingerprint, run_id, host = (str(content[name]) for name in ("fingerprint", "run_id", "host"))
            return cls(fingerprint, run_id, host, float(content["heartbeat"]), float(content["seen_at"]), marker)
        except (KeyError, TypeError, ValueError):
            return None


def note_path(cell: Cell) -> Path:
    """`results/vgg11/320.elsewhere.json`."""
    return cell.beside_marker("elsewhere.json")


def note_beside(journal: Path) -> Path:
    """The same, for those who only know the cell's journal."""
    return beside(journal, "elsewhere.json")


def competes(tags: Mapping[str, str], here: str, content_digest: str | None = None) -> bool:
    """Whether a run with these tags comes from another directory, and saw the same image contents as far as known."""
    theirs = tags.get(Tag.CONTENT_DIGEST)
    return tags.get(Tag.PLACE) != here and (not theirs or not content_digest or theirs == content_digest)


def running_elsewhere(
    tracking: Tracking, experiment: str, base: str, wanted: Mapping[Cell, str]
) -> dict[Cell, Elsewhere]:
    """Those of the wanted cells (with their fingerprints) that another directory trains right now, by its heartbeat.

    One bounded query by plain REST. Raises TrackerUnavailable.
    """
    runs_now = f"attributes.status = 'RUNNING' and {equals(Tag.BASE, base)}"
    found = search_runs(tracking, experiment, runs_now, NEWEST, tracking.timeout_seconds)
    return _fresh(islice(found, NEWEST), wanted)


def _fresh(runs: Iterable[Mapping[str, Any]], wanted: Mapping[Cell, str]) -> dict[Cell, Elsewhere]:
    cell_of = {fingerprint: cell for cell, fingerprint in wanted.items()}
    here, found = place(), {}
    for run in runs:
        tags = run_tags(run)
        cell = cell_of.get(tags.get(Tag.FINGERPRINT, ""))
        if cell is not None and competes(tags, here):
            other = from_tags(str(run["info"].get("run_id")), tags)
            if other.is_fresh:
                found[cell] = other
    return found


def from_tags(run_id: str, tags: Mapping[str, str], marker: Marker | None = None) -> Elsewhere:
    """What a run's tags tell."""
    heartbeat = heartbeat_of(tags) or 0.0
    return Elsewhere(tags.get(Tag.FINGERPRINT, ""), run_id, host_of(tags), heartbeat, time.time(), marker)
