"""Tags of a run in the tracker: their names, and the marker as one of them.

A run is complete when it is FINISHED and carries the complete tag: a bare FINISHED proves nothing, for a script that
dies in an exit handler ends so too. Its marker tag holds the marker as the trainer wrote it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resomap.cells.marker import TRACKER, Marker
from resomap.core.files import strict_json
from resomap.core.text import is_whole_number, printable, without_controls


class Tag:
    """Names of all tags that are written or searched for."""

    UID = "resomap.uid"  # of the training: one run a uid, over all attempts
    BASE = "resomap.base"  # what all cells of a study share, by which they are asked for in one question
    FINGERPRINT = "resomap.fingerprint"  # of the cell's settings; runs of older scripts have none
    CELL = "resomap.cell"  # vgg11@320
    PLACE = "resomap.place"  # id of the working directory that trains it
    HOST = "resomap.host"  # name of the machine
    DEVICE = "resomap.device"  # name of the GPU or CPU
    ATTEMPT = "resomap.attempt"  # counted from 1
    CONTENT_DIGEST = "resomap.content_digest"  # of the images that it saw
    HEARTBEAT = "resomap.heartbeat"  # when it was alive last, whole seconds since 1970
    REASON = "resomap.reason"  # why the attempt ended early
    SUPERSEDED = "resomap.superseded"  # id of the run that it gave way to
    MARKER = "resomap.marker"  # the done marker, as JSON
    COMPLETE = "resomap.complete"  # 1: all of it is there, written last; 0: forgotten by `resomap forget --tracker`
    SWEEP = "resomap.sweep"  # of a run that stands above all cells of one base: that base
    ADOPTED_FROM = "resomap.adopted_from"  # id of the run of an older script
    DOCTOR = "resomap.doctor"  # never stored: `resomap doctor` tries whether it may write

    # MLflow's own, which its pages show.
    COMMIT = "mlflow.source.git.commit"
    NOTE = "mlflow.note.content"
    PARENT = "mlflow.parentRunId"
    RUN_NAME = "mlflow.runName"


def equals(tag: str, value: str) -> str:
    """Return the condition of a search for runs whose tag has this value."""
    return f"tags.`{tag}` = '{value}'"


def completion(marker: Marker) -> dict[str, str]:
    """Return the tags that make a run complete, in the order in which they are to be written."""
    return {Tag.MARKER: strict_json(marker.as_json(), indent=None), Tag.COMPLETE: "1"}


def complete_marker(run_id: str, status: str | None, tags: Mapping[str, str]) -> Marker | None:
    """Return a run's marker, with the tracker as its origin; None where the run is not complete."""
    if status != "FINISHED" or tags.get(Tag.COMPLETE) != "1":
        return None
    try:
        marker = Marker.parse(_printable(json.loads(tags[Tag.MARKER])))
    except (KeyError, ValueError, RecursionError):
        return None
    return replace(marker, origin=TRACKER, run_id=run_id) if marker is not None else None


def _printable(value: Any) -> Any:
    """Return decoded JSON from outside with a blank for each control character: its text is shown on terminals."""
    if isinstance(value, str):
        return without_controls(value)
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def host_of(tags: Mapping[str, str]) -> str:
    """Return the name of the machine that a run is or was on."""
    return printable(tags.get(Tag.HOST, "an unknown host"))[:80]


def heartbeat_of(tags: Mapping[str, str]) -> float | None:
    """Return the time of a run's last heartbeat in seconds since 1970; None where it has none."""
    heartbeat = tags.get(Tag.HEARTBEAT, "")
    return float(heartbeat) if is_whole_number(heartbeat) else None
