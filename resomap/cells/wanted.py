"""Work that a plan wants, beside the study file of its jobs, so that one process serves several jobs of a kind.

A process that computes pays for its imports first, seconds of them, and one that prepares images for decoding them.
The main Snakemake process notes each evaluation, measurement and size of images that it plans in
`.resomap/study-<digest>.wanted`, a line each, while it finds the jobs. The first job that has to compute one looks here
for the others that are ready, and leaves their results as parts, which their own jobs take over. A step that a person
calls has another study file, without such a list.
"""

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from resomap.core.files import regular_bytes

Kind = Literal["evaluate", "cost", "images"]


@dataclass
class WantedList:
    """List of what this call of Snakemake wants; `path` is the study file that its jobs read."""

    path: Path
    _noted: set[str] = field(default_factory=set)
    _is_begun: bool = False

    def begin(self) -> None:
        """Begin a new list in place of that of an earlier run. Raises OSError."""
        file = _file(self.path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"plan {uuid.uuid4().hex}\n")
        self._is_begun = True

    def note(self, kind: Kind, name: str) -> None:
        """Note a job, once; of a call that runs no jobs nothing is noted. Raises OSError."""
        line = f"{kind} {name}\n"
        if self._is_begun and line not in self._noted:
            self._noted.add(line)
            with _file(self.path).open("a") as stream:
                stream.write(line)


def wanted(study_file: Path, kind: Kind) -> list[str]:
    """Return the names of the wanted jobs of a kind, in the order of the plan; none without a list."""
    return [name for found, name in _entries(study_file) if found == kind]


def plan_id(study_file: Path) -> str | None:
    """Return what tells the present call of Snakemake from others; None without a list."""
    return next((name for found, name in _entries(study_file) if found == "plan"), None)


def _entries(study_file: Path) -> list[tuple[str, str]]:
    try:
        lines = regular_bytes(_file(study_file)).decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [(kind, name) for kind, _, name in (line.partition(" ") for line in lines) if name]


def _file(study_file: Path) -> Path:
    return study_file.with_suffix(".wanted")
