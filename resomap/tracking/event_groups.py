"""Events of a journal put together for the tracker: those that go in one call, and the points of one training."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.tracking.journal import events_from

if TYPE_CHECKING:
    from mlflow.entities import Metric

MAX_POINTS = 1000  # metrics a call: the REST interface's limit
POINTS = ("metrics", "beat")
GROUPED = (*POINTS, "tags")


def groups(events: Iterable[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield groups of neighbouring events that can be sent in one call, with the offset behind each."""
    waiting: list[dict[str, Any]] = []
    after = 0
    for event, offset in events:
        if event["kind"] in GROUPED:
            waiting.append(event)
            after = offset
            if sum(len(one["values"]) for one in waiting) >= MAX_POINTS:
                yield waiting, after
                waiting = []
            continue
        if waiting:
            yield waiting, after
            waiting = []
        yield [event], offset
    if waiting:
        yield waiting, after


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def points_of(events: Iterable[Mapping[str, Any]]) -> "list[Metric]":
    """Return the points of these events as MLflow's, with the journal's times."""
    from mlflow.entities import Metric

    return [
        Metric(name, value, event["time"], event["step"])
        for event in events
        for name, value in (event["values"] if event["kind"] in POINTS else {}).items()
        if value is not None
    ]


def events_of(journal: Path, uid: str | None, end: int) -> Iterator[dict[str, Any]]:
    """Yield the events of one training that lie before a byte offset; a journal may hold several trainings."""
    current = None
    for event, after in events_from(journal):
        if after > end:
            return
        if event["kind"] == "start":
            current = event["uid"]
        if current == uid:
            yield event
