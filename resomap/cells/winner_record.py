"""Record of the winners that were evaluated on test images: `results/test-evaluations.jsonl`, one JSON object a line.

Test images are to be looked at once. Whoever takes the better of two winners by their test figures has chosen on test,
and the figure of the one taken is too high: so each evaluation is written down before its figures are, and the report
says which one it shows. The file is only appended to; `resomap forget winner` leaves it as it is.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resomap.cells.marker import LOCAL
from resomap.cells.winner_cell import Choice, Winner
from resomap.core.files import end_torn_line, regular_bytes, strict_json
from resomap.core.json_object import JsonObject

PATH = Path("results", "test-evaluations.jsonl")
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class WinnerEvaluation(JsonObject):
    """Evaluation of one winner on test images."""

    schema: int = SCHEMA
    at: float  # seconds since 1970
    test_split: str | None  # 12 hex digits over names and classes of the test images
    winner: str  # name of its cell with `.winner`
    kind: str
    fingerprint: str
    uid: str
    origin: str  # local | tracker
    metrics: Mapping[str, float | None]


def record(
    cell: Winner,
    choice: Choice,
    metrics: Mapping[str, float | None],
    *,
    fingerprint: str,
    uid: str,
    origin: str = LOCAL,
) -> None:
    """Append the evaluation of a winner, once for each (by its uid) and test split. Raises OSError.

    `metrics` by `split/name`; those of test are kept.
    """
    evaluation = WinnerEvaluation(
        at=time.time(),
        test_split=choice.test_split,
        winner=cell.name,
        kind=choice.kind,
        fingerprint=fingerprint,
        uid=uid,
        origin=origin,
        metrics={name: value for name, value in metrics.items() if name.startswith("test/")},
    )
    if any((one.uid, one.test_split) == (uid, choice.test_split) for one in recorded()):
        return
    PATH.parent.mkdir(parents=True, exist_ok=True)
    line = (strict_json(evaluation.as_json(), indent=None) + "\n").encode()
    descriptor = os.open(PATH, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        end_torn_line(PATH, descriptor)
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def recorded() -> list[WinnerEvaluation]:
    """Return the evaluations in the order in which they were made; lines that a kill tore are left out."""
    try:
        lines = regular_bytes(PATH).decode(errors="replace").splitlines()
    except OSError:
        return []
    found = (WinnerEvaluation.parse(_decoded(line)) for line in lines)
    return [one for one in found if one is not None]


def place_of(uid: str) -> tuple[int, int] | None:
    """Return the place, from 1, of a winner among those evaluated on the same test images, and how many these are.

    None where no evaluation of it is recorded.
    """
    found = recorded()
    own = next((one for one in found if one.uid == uid), None)
    if own is None:
        return None
    uids = list(dict.fromkeys(one.uid for one in found if one.test_split == own.test_split))
    return uids.index(uid) + 1, len(uids)


def _decoded(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
