"""Journal: the local, append-only record of one cell's trainings, for the tracker.

One JSON object a line. Because every event carries its time, replaying it twice gives the same points once. Two
processes write to it, the trainer and its sender process (see `sender_process`), each line in one call.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resomap.core.errors import NO_ROOM
from resomap.core.files import end_torn_line, file_digest, open_regular, strict_json
from resomap.core.text import all_encodable

SUFFIX = ".journal.jsonl"
# Keys that an event must have, by its kind; all have `time` too.
SHAPES: dict[str, dict[str, type]] = {
    "start": {"uid": str, "name": str, "params": dict, "tags": dict},
    "metrics": {"step": int, "values": dict},
    "beat": {"step": int, "values": dict},
    "artifact": {"name": str, "path": str},
    "figures": {"history": dict, "predictions": dict},
    "end": {"status": str, "tags": dict},
}


class Journal:
    """Writer of a journal: appends events; each line is complete on disk before the call returns.

    Where the disk is full, events wait in memory for the next call: a training does not end for its record.
    """

    def __init__(self, path: Path, is_shared: bool = False) -> None:
        """Open the journal for appending.

        With `is_shared` another process is writing: an incomplete last line may still be completed.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if not is_shared:
            end_torn_line(path, self._descriptor)
        self._waiting = b""  # lines that a full disk did not take
        self._logged: set[tuple[int, str]] = set()  # (step, name) of the points that this training has written

    def start(
        self,
        uid: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        data: Mapping[str, str] | None = None,
    ) -> None:
        """Record the start of an attempt: its run is created, or reopened under the same uid.

        `data` has `name`, `digest` and `source` of the images, all text.
        """
        self._logged = _logged_points(self.path, uid)
        self._append("start", uid=uid, name=name, params=dict(params), tags=dict(tags), data=dict(data or {}))

    def metrics(self, step: int, values: Mapping[str, float | int | None]) -> None:
        """Record metrics at an epoch; undefined ones are left out.

        A training that was killed repeats epochs that it has recorded already, with the same values:
        they are left out too, or the tracker would show each point twice.
        """
        new = {name: value for name, value in values.items() if _is_number(value) and (step, name) not in self._logged}
        if new:
            self._logged |= {(step, name) for name in new}
            self._append("metrics", step=step, values=new)

    def heartbeat(self, step: int, values: Mapping[str, float]) -> None:
        """Record the `step`-th heartbeat of the training, with `values` of the machine's system metrics."""
        self._append("beat", step=step, values={name: value for name, value in values.items() if _is_number(value)})

    def artifact(self, path: Path, name: str | None = None) -> None:
        """Record a file to keep with the run, under a name without the cell's; it is read when it is sent.

        Its digest tells then if it is still the same: another training may have written it anew.
        """
        self._append("artifact", name=name or path.name, **_with_digest(path))

    def figures(self, history: Path, predictions: Path) -> None:
        """Record the files from which learning curves and confusion matrix are to be drawn."""
        self._append("figures", history=_with_digest(history), predictions=_with_digest(predictions))

    def end(self, status: str, tags: Mapping[str, str]) -> None:
        """Record the end of the attempt, with the status FINISHED, FAILED or KILLED."""
        self._append("end", status=status, tags=dict(tags))

    @property
    def is_complete(self) -> bool:
        """True if every event so far is in the file."""
        return not self._waiting

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _append(self, kind: str, **content: Any) -> None:
        event = {"kind": kind, "time": round(time.time() * 1000), **content}
        self._waiting += (strict_json(event, indent=None) + "\n").encode()
        try:
            self._write_waiting()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise

    def _write_waiting(self) -> None:
        while self._waiting:
            written = os.write(self._descriptor, self._waiting)
            if written < len(self._waiting):
                # Half a line, and the other process may write behind it: it is written whole once more, below.
                end = self._waiting.rfind(b"\n", 0, written) + 1
                self._waiting = (b"\n" if end < written else b"") + self._waiting[end:]
            else:
                self._waiting = b""


def journals(results: Path) -> list[Path]:
    """Return the journals below `results`: those of the cells, in the folders of their models, then the winner's."""
    return [*sorted(results.glob(f"*/*{SUFFIX}")), *sorted(results.glob(f"*{SUFFIX}"))]


def beside(journal: Path, extension: str) -> Path:
    """Return the path `results/vgg11/320.<extension>` of another file of the cell, where only its journal is known."""
    return journal.with_name(f"{journal.name.removesuffix(SUFFIX)}.{extension}")


def is_event(content: Any) -> bool:
    """Return True for decoded JSON with all that an event of its kind must have; one of an unknown kind is let pass."""
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        return False
    shape = SHAPES.get(content["kind"], {})
    if type(content.get("time")) is not int or not all(type(content.get(name)) is kind for name, kind in shape.items()):
        return False
    values = content.get("values", {})
    return not isinstance(values, dict) or {type(value) for value in values.values()} <= {int, float, type(None)}


def events_from(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each complete event from a byte offset on, with the offset behind it; an incomplete last line is left."""
    with open_regular(path) as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = json.loads(line)
                # A byte of a file name that is no UTF-8: no tracker takes it, and the journal would wait for ever.
                event = all_encodable(event) if b"\\ud" in line else event
            except (ValueError, RecursionError):
                continue  # a line torn by a kill; the attempt that followed wrote on below it
            if is_event(event):
                yield event, offset


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the complete events from a byte offset on, and the offset behind the last of them."""
    events = []
    for event, after in events_from(path, offset):
        events.append(event)
        offset = after
    return events, offset


def _with_digest(path: Path) -> dict[str, str]:
    return {"path": str(path), "sha256": file_digest(path)}


def _is_number(value: float | int | None) -> bool:
    """Return True for a finite number; JSON and trackers cannot hold undefined, NaN and infinite values."""
    return value is not None and math.isfinite(value)


def _logged_points(path: Path, uid: str) -> set[tuple[int, str]]:
    """Return (step, name) of every point that the journal has of the training `uid`; another may precede it."""
    found: set[tuple[int, str]] = set()
    current = None
    for event, _ in events_from(path):
        if event["kind"] == "start":
            current = event["uid"]
        elif event["kind"] == "metrics" and current == uid:
            found |= {(event["step"], name) for name in event["values"]}
    return found
