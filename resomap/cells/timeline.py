"""Timeline of a study's runs: when each job began and ended, a line each in `.resomap/timeline.jsonl`.

The main Snakemake process appends to it; forecasts learn from it. A run that was killed has no event `end`.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.cells.study import STATE_DIRECTORY
from resomap.core.files import open_own, regular_bytes
from resomap.core.json_object import known_values

PATH = STATE_DIRECTORY / "timeline.jsonl"
MOST_BYTES = 8_000_000  # of a timeline; a longer one begins anew


@dataclass(frozen=True)
class Event:
    """Event of a run; `at` is a Unix time. What it has beside depends on its kind."""

    run: str  # name of the main process, see `resomap.tracking.send_request`
    kind: str  # begin | plan | start | done | failed | end
    at: float
    rule: str = ""
    name: str = ""  # of the cell, or the rule with its wildcards
    training: float | None = None  # seconds of training, of a trained cell
    planned: Mapping[str, int] | None = None  # of a plan: jobs by rule
    # Of a beginning: model, resolution and predicted seconds of each cell that is not trained, by its name.
    cells: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, content: Any) -> "Event | None":
        """Return the event of decoded JSON; None where it is none."""
        known = known_values(cls, content)
        return None if known is None else cls(**known)


def append(run: str, kind: str, root: Path = Path(), **content: Any) -> Event:
    """Append an event of a run, if it has a name, to the timeline of the study in the folder `root`; return it.

    A disk that does not take it costs a forecast, and no run.
    """
    event = Event(run, kind, time.time(), **content)
    if not run:
        return event
    known = {name: value for name, value in vars(event).items() if value not in (None, "")}
    line = json.dumps(known) + "\n"
    with contextlib.suppress(OSError):
        path = root / PATH
        path.parent.mkdir(exist_ok=True)
        is_too_long = kind == "begin" and path.exists() and path.stat().st_size > MOST_BYTES
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if is_too_long else 0)
        descriptor = open_own(path, flags)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    return event


def read(path: Path = PATH) -> list[Event]:
    """Return the events of a timeline, in their order; none where there is no file."""
    try:
        lines = regular_bytes(path).decode(errors="replace").splitlines()
    except OSError:
        return []
    return [event for event in map(_parsed, lines) if event is not None]


def _parsed(line: str) -> Event | None:
    try:
        return Event.parse(json.loads(line))
    except (ValueError, RecursionError):  # torn by a kill
        return None
