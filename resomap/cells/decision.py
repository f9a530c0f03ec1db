"""Decision file of a cell's best weights, `decision.json` beside best.pt: how their answers are read.

Strict JSON, all of it chosen on validation images:

    schema, fingerprint, uid    whose weights these are
    temperature                 by which logits are divided before the softmax (Guo et al. 2017)
    images                      validation images that it was fitted on

Weights without it are read at temperature 1. Keys that another version wrote stay when the file is written again.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from resomap.core.files import read_json, write_json
from resomap.core.json_object import JsonObject

NAME = "decision.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Decision(JsonObject):
    """Content of the file."""

    schema: int
    fingerprint: str
    uid: str
    temperature: float
    images: int

    @classmethod
    def beside(cls, weights: Path, fingerprint: str, uid: str) -> "Decision | None":
        """Return the decision file beside a weights file; None where it is missing, damaged or of other weights."""
        found = cls.parse(read_json(weights.with_name(NAME)))
        if found is None or (found.schema, found.fingerprint, found.uid) != (SCHEMA, fingerprint, uid):
            return None
        return found if found.temperature > 0 else None

    def write(self, weights: Path) -> None:
        """Write the file beside a weights file, atomically; of the same weights' file only known keys change."""
        before = Decision.beside(weights, self.fingerprint, self.uid)
        write_json(weights.with_name(NAME), replace(self, extra=before.extra if before else {}).as_json())
