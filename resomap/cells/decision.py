"""Decision file of a cell's best weights, `decision.json` beside best.pt: how their answers are read.

Strict JSON, all of it chosen on validation images:

    schema, fingerprint, uid    whose weights these are
    temperature                 by which logits are divided before the softmax (Guo et al. 2017)
    images                      validation images that it was fitted on
    metric, at                  operating point: the metric, and the share that its threshold holds
    positive, threshold         an image is of this class where log p - log(1 - p), at temperature 1, is above it
    basis                       `transferred`: chosen on predictions of other trainings of the same cell, as for a
                                winner, which has no validation images; null: on these weights' own predictions

Weights without it are read at temperature 1 and by their likeliest class. Keys that another version wrote stay when the
file is written again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from resomap.core.files import read_json, write_json
from resomap.core.json_object import NONE, JsonObject

NAME = "decision.json"
TRANSFERRED = "transferred"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Decision(JsonObject):
    """Content of the file."""

    schema: int
    fingerprint: str
    uid: str
    temperature: float = 1.0
    images: int = 0
    metric: str | None = None
    at: float | None = None
    positive: str | None = None
    threshold: float | None = None
    basis: str | None = None

    @classmethod
    def beside(cls, weights: Path, fingerprint: str, uid: str) -> "Decision | None":
        """Return the decision file beside a weights file; None where it is missing, damaged or of other weights."""
        found = cls.parse(read_json(weights.with_name(NAME)))
        if found is None or (found.schema, found.fingerprint, found.uid) != (SCHEMA, fingerprint, uid):
            return None
        return found if found.temperature > 0 else None

    def write(self, weights: Path) -> None:
        """Write the file beside a weights file, atomically.

        Of a file of the same weights it keeps an operating point, and keys that are not known here.
        """
        before = Decision.beside(weights, self.fingerprint, self.uid)
        point = operating_point(before) if operating_point(self) is None else None
        _write(replace(self, **asdict(point)) if point else self, weights, before)


@dataclass(frozen=True)
class OperatingPoint:
    """The part of the file that says which images are called positive; `positive` names a class."""

    metric: str
    at: float
    positive: str
    threshold: float


def temperature_of(found: Decision | None) -> float:
    """Return the temperature in a decision file; 1 where there is none."""
    return found.temperature if found else 1.0


def operating_point(found: Decision | None, classes: Sequence[str] | None = None) -> OperatingPoint | None:
    """Return the operating point in a decision file; None where there is none, or none of a class among `classes`."""
    if found is None or found.metric is None or found.at is None or found.positive is None or found.threshold is None:
        return None
    if classes is not None and found.positive not in classes:
        return None
    return OperatingPoint(found.metric, found.at, found.positive, found.threshold)


def keep_operating_point(weights: Path, fingerprint: str, uid: str, point: OperatingPoint | None) -> None:
    """Write an operating point into the decision file beside best.pt, or take it out (None); the rest stays.

    Writes nothing where nothing changes. Raises OSError.
    """
    before = Decision.beside(weights, fingerprint, uid)
    if operating_point(before) == point:
        return
    found = replace(before or Decision(schema=SCHEMA, fingerprint=fingerprint, uid=uid), absent=NONE)
    none = dict.fromkeys(("metric", "at", "positive", "threshold"))
    _write(replace(found, **(asdict(point) if point else none)), weights, before)


def _write(found: Decision, weights: Path, before: Decision | None) -> None:
    write_json(weights.with_name(NAME), replace(found, extra=before.extra if before else {}).as_json())
