"""The local, append-only record of one training: what the tracker is to know, with fixed times.

One JSON object a line. Because every event carries its time, replaying it twice gives the same points once.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.files import strict_json


class Journal:
    """Appends events to a file; each line is complete on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        _end_torn_line(path, self._descriptor)
        self._known: set[tuple[int, str]] = set()  # (step, name) of the points that this training has written

    def start(self, uid: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """An attempt begins: the run is created, or reopened under the same uid."""
        self._known = _points(self.path, uid)
        self._append("start", uid=uid, name=name, params=dict(params), tags=dict(tags))

    def metrics(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Values at an epoch; undefined ones are left out.

        A training that was killed passes again through epochs that it has written already, with the same values:
        they are left out too, or the tracker would show each point twice.
        """
        new = {name: value for name, value in values.items() if value is not None and (step, name) not in self._known}
        if new:
            self._known |= {(step, name) for name in new}
            self._append("metrics", step=step, values=new)

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags that change while the run goes on (heartbeat)."""
        self._append("tags", values=dict(values))

    def artifact(self, path: Path) -> None:
        """A file to keep with the run; it is read when it is sent."""
        self._append("artifact", path=str(path))

    def end(self, status: str, tags: Mapping[str, str]) -> None:
        """The attempt ends: FINISHED, FAILED or KILLED."""
        self._append("end", status=status, tags=dict(tags))

    def close(self) -> None:
        os.close(self._descriptor)

    def _append(self, kind: str, **content: Any) -> None:
        event = {"kind": kind, "time": round(time.time() * 1000), **content}
        os.write(self._descriptor, (strict_json(event, indent=None) + "\n").encode())


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The complete events from a byte offset on, and the offset behind them; a torn last line is left for later."""
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read()
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue  # a line torn by a kill; the attempt that followed wrote on below it
    return events, offset + len(whole)


def _points(path: Path, uid: str) -> set[tuple[int, str]]:
    """(step, name) of every point that the training `uid` has in the journal; another training may precede it."""
    found: set[tuple[int, str]] = set()
    current = None
    for event in read_events(path)[0]:
        if event["kind"] == "start":
            current = event["uid"]
        elif event["kind"] == "metrics" and current == uid:
            found |= {(event["step"], name) for name in event["values"]}
    return found


def _end_torn_line(path: Path, descriptor: int) -> None:
    """A kill may leave half a line: close it, so that the next event starts on its own."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size:
            stream.seek(size - 1)
            if stream.read(1) != b"\n":
                os.write(descriptor, b"\n")
