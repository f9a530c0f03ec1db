"""Reasons why cells remain although the tracker has runs of them: one line a cell, for `snakemake -n`.

It is one paged query for the newest runs, half a second in all, and nothing depends on the answer. In pages, because
a server takes milliseconds for each run: those that have come when the time is up explain some cells, which is better
than none.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.liveness import age_words
from resomap.cells.study import Study
from resomap.cells.tags import Tag, heartbeat_of, host_of
from resomap.tracking.rest import TrackerUnavailable
from resomap.tracking.run_params import flat
from resomap.tracking.run_search import run_tags, search_runs

MAX_RUNS, PAGE = 200, 50  # runs
SECONDS = 0.5
MAX_DIFFERENCES = 3  # that are named before "and more"


class Reasons:
    """Newest run of each cell, and the reason why it does not count. The tracker is asked once, at the first call."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._runs: list[dict[str, Any]] | None = None

    def lines(self, cells: Iterable[Cell]) -> list[str]:
        """Return one line for each cell with a run that does not count.

        For example `vgg11@320: run 3f2a1b0c finished with epochs 25, wanted 50`.
        Raises TrackerUnavailable, at the first call only.
        """
        remaining = list(cells)
        if remaining:
            self.ask_once()
        reasons = ((cell, self._reason(cell)) for cell in remaining)
        return [f"{cell.name}: {reason}" for cell, reason in reasons if reason]

    def ask_once(self) -> None:
        """Query the tracker at the first call. Raises TrackerUnavailable, which is not repeated."""
        if self._runs is None:
            self._runs = []
            self._runs = _newest(self._study)

    def _reason(self, cell: Cell) -> str | None:
        for run in self._runs or []:
            tags = run_tags(run)
            if tags.get(Tag.CELL) == cell.name and Tag.SUPERSEDED not in tags:
                return why_not(run, self._study, cell)
            if Tag.FINGERPRINT not in tags and _name(run, tags) == f"{cell.model}_{cell.resolution}":
                return (
                    f"run {_short_id(run)} has this training's name but no fingerprint; `resomap adopt "
                    f"{cell.model}_{cell.resolution}` lets it count"
                )
        return None


def why_not(run: Mapping[str, Any], study: Study, cell: Cell) -> str:
    """Return the reason why a run of a cell does not count as complete under the study's settings."""
    tags, state = run_tags(run), str(run["info"].get("status"))
    name, other = f"run {_short_id(run)}", ""
    if tags.get(Tag.FINGERPRINT) != study.fingerprint(cell):
        logged = {str(item.get("key")): str(item.get("value")) for item in run.get("data", {}).get("params", [])}
        other = differences(logged, study, cell) or "other images, split, weights or version of the recipe"
    if state == "RUNNING":
        return f"{name} RUNNING on {host_of(tags)}, {_heartbeat_words(tags)}" + (f"; it has {other}" if other else "")
    if other:
        return f"{name} {state.lower()} with {other}"
    if state == "FINISHED":
        reasons = {
            "1": "is complete, but its marker does not fit",
            "0": "was forgotten with `resomap forget --tracker`",
        }
        return f"{name} {reasons.get(tags.get(Tag.COMPLETE, ''), 'FINISHED without its complete tag')}"
    reason = tags.get(Tag.REASON)
    return f"{name} {state}: {reason}" if reason else f"{name} {state}"


def differences(logged: Mapping[str, str], study: Study, cell: Cell) -> str:
    """Return the differences of a run's params from the cell's recipe; empty where there are none.

    For example `epochs 25, wanted 50; batch_size 16, wanted 32`. Settings that the run did not log count as alike.
    """
    wanted = {key: str(value) for key, value in flat(study.recipe(cell).model_dump()).items()}
    found = [
        f"{key} {logged[key]}, wanted {value}"
        for key, value in wanted.items()
        if key in logged and not _is_same(logged[key], value)
    ]
    more = len(found) - MAX_DIFFERENCES
    return "; ".join(found[:MAX_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _newest(study: Study) -> list[dict[str, Any]]:
    """Return those of the newest runs that come in time. Raises TrackerUnavailable where none does."""
    runs: list[dict[str, Any]] = []
    try:
        for run in islice(search_runs(study.config.tracking, study.config.experiment, "", PAGE, SECONDS), MAX_RUNS):
            runs.append(run)
    except TrackerUnavailable:
        if not runs:
            raise
    return runs


def _short_id(run: Mapping[str, Any]) -> str:
    return str(run["info"].get("run_id"))[:8]


def _name(run: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    return str(run["info"].get("run_name") or tags.get(Tag.RUN_NAME))


def _heartbeat_words(tags: Mapping[str, str]) -> str:
    heartbeat = heartbeat_of(tags)
    return "no heartbeat" if heartbeat is None else f"heartbeat {age_words(heartbeat)}"


def _is_same(logged: str, wanted: str) -> bool:
    """Return True if both are the same text or the same number: `1e-3` is 0.001."""
    try:
        return logged == wanted or float(logged) == float(wanted)
    except ValueError:
        return False
