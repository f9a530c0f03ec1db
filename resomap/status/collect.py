"""State of each cell, from its marker, progress file and failure file; no running process is asked."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from resomap.cells.cell import Cell
from resomap.cells.margin import within_margin
from resomap.cells.marker import Marker
from resomap.cells.progress import Failure, Progress, failure_path, is_alive, progress_path
from resomap.cells.study import Study
from resomap.cells.winner_cell import Winner, begun
from resomap.config.judging import FurtherMetric
from resomap.core.files import read_json
from resomap.core.json_object import JsonObject
from resomap.core.text import duration
from resomap.tracking.elsewhere import Elsewhere, note_path

MAP = Path("results", "summary.json")

State = Literal["done", "running", "failed", "waiting"]


@dataclass
class CellStatus:
    """Status of one training; `title` names it with fold and seed where its cell has several.

    `value` and `test` are its metric on the validation and on the test split.

    Both are None where the cell is not done or the metric undefined. Choices are made on `value` alone.
    """

    cell: Cell
    state: State
    title: str = ""
    note: str = ""
    value: float | None = None
    test: float | None = None
    is_best: bool = False
    is_near_best: bool = False  # within the margin of the best, the best itself included
    is_recommended: bool = False  # its cell is the answer of the map that is here
    origin: str | None = None  # local | tracker
    is_exact: bool | None = None
    is_elsewhere: bool = False  # another place trains it right now
    progress: Progress | None = None
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """Name of the training in sentences: its title where it has one."""
        return self.title or self.cell.name

    @property
    def is_winner(self) -> bool:
        """True for the winner, which is no cell of the grid."""
        return isinstance(self.cell, Winner)

    def as_dict(self) -> dict[str, Any]:
        """Return the status for JSON; nested parts keep their files' keys."""
        content = {**dataclasses.asdict(self), "cell": self.cell.name}
        return {
            "model": self.cell.model,
            "resolution": self.cell.resolution,
            "seed": self.cell.seed,
            "fold": self.cell.fold,
            **content,
        }


def collect(
    cells: Iterable[Cell],
    fingerprints: Mapping[Cell, str],
    metric: str,
    margin: float,
    content_digest: str | None = None,
) -> list[CellStatus]:
    """Return the status of each cell, in their order.

    `content_digest` is that of the images here, where it is known: trainings of other contents do not count.

    `metric` is the part after `val/` (higher is better), `margin` the accepted deficit to the best cell on the
    validation split. Paths start at the working directory.
    """
    statuses = [_status(cell, fingerprints[cell], metric, content_digest) for cell in cells]
    _take_from_map(statuses, metric)
    judged, folds = [status.value for status in statuses], [status.cell.fold for status in statuses]
    near, best = within_margin(judged, margin, folds), within_margin(judged, 0.0, folds)
    for status, is_near, is_best in zip(statuses, near, best, strict=True):
        status.is_near_best, status.is_best = is_near, is_best
    return statuses


def winner_status(study: Study, metric: str, content_digest: str | None = None) -> list[CellStatus]:
    """Return the status of the winner that was begun under the present settings; empty where none was.

    Its `value` is None: no validation images judge it. Arguments as for `collect`.
    """
    found = begun(study)
    return [_status(found.cell, study.fingerprint(found.cell), metric, content_digest)] if found else []


def counts(statuses: Iterable[CellStatus]) -> dict[str, int]:
    """Return the number of cells `completed`, `failed`, `running` and `remaining` (none of the three)."""
    found = Counter(status.state for status in statuses if not status.is_winner)
    return {
        "completed": found["done"],
        "failed": found["failed"],
        "running": found["running"],
        "remaining": found["waiting"],
    }


def summary_line(statuses: Iterable[CellStatus], seconds: float | None = None) -> str:
    """Return the counts of cells as one line, with the time to go where these `seconds` are known.

    For example `31 completed, 1 failed, 2 running, 6 remaining; about 3 h 20 min to go`.
    """
    line = ", ".join(f"{count} {name}" for name, count in counts(statuses).items())
    return f"{line}; about {duration(seconds)} to go" if seconds else line


def _status(cell: Cell, fingerprint: str, metric: str, content_digest: str | None) -> CellStatus:
    marker = Marker.read(cell.marker)
    if marker is not None and marker.counts_for(cell, fingerprint, content_digest):
        return CellStatus(
            cell,
            "done",
            note="" if marker.exact else "; ".join(marker.exact_reasons) or "not exactly repeatable",
            value=marker.metrics.get(f"val/{metric}"),
            test=marker.metrics.get(f"test/{metric}"),
            origin=marker.origin,
            is_exact=marker.exact,
        )
    progress = Progress.read(progress_path(cell))
    if progress is not None and is_alive(progress):
        return CellStatus(cell, "running", progress=progress)
    failure = Failure.read(failure_path(cell))
    is_last_word = failure is not None and (progress is None or failure.at >= progress.started_at)
    other = Elsewhere.read(note_path(cell))
    if other is not None and other.fingerprint == fingerprint and (failure is None or other.seen_at > failure.at):
        note = str(other) if other.is_fresh else f"it was {other}"
        return CellStatus(cell, "waiting", note=note, is_elsewhere=other.is_fresh)
    if failure is not None and failure.fingerprint == fingerprint and is_last_word:
        return CellStatus(cell, "failed", note=failure.reason, failure=failure)
    return CellStatus(cell, "waiting", note=_why_waiting(cell, fingerprint, marker, progress))


def _take_from_map(statuses: Iterable[CellStatus], metric: str) -> None:
    """Fill in the metric from the map, where it is one that markers lack: it needs a class, and a threshold."""
    done = [status for status in statuses if status.state == "done"]
    if not done or metric not in get_args(FurtherMetric):
        return
    content = read_json(MAP)
    trainings = content.get("trainings") if isinstance(content, dict) and content.get("metric") == metric else []
    known = [found for one in (trainings if isinstance(trainings, list) else []) if (found := _InMap.parse(one))]
    by_uid = {one.uid: one.metrics for one in known}
    for status in done:
        marker = Marker.read(status.cell.marker)
        metrics = by_uid.get(marker.uid, {}) if marker else {}
        status.value, status.test = metrics.get(f"val/{metric}"), metrics.get(f"test/{metric}")


@dataclass(frozen=True, kw_only=True)
class _InMap(JsonObject):
    """Part of a training in results/summary.json that the status reads."""

    uid: str
    metrics: Mapping[str, float | None]


def _why_waiting(cell: Cell, fingerprint: str, marker: Marker | None, progress: Progress | None) -> str:
    if progress is not None:
        return f"interrupted after epoch {progress.epoch}/{progress.epochs}; goes on from its checkpoint"
    if marker is not None:
        return "images changed" if marker.counts_for(cell, fingerprint) else "settings changed"
    if cell.marker.exists():
        held = read_json(cell.marker)
        return "marker is damaged" if held is None else "marker lacks what a marker needs"
    return ""
