"""Record of `resomap bench --gpu`: rows that say what was found, as Markdown and as JSON."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resomap.core.files import write_json

SCHEMA = 1
# States of a part.
WAITING, RUNNING, DONE, CUT, FAILED, LEFT_OUT = "waiting", "running", "done", "cut", "failed", "left out"
Figures = dict[str, float | int | str | bool | None]


@dataclass(frozen=True)
class Row:
    """One thing that a part found: in words, and in figures for a program. `passed` is None where nothing is judged."""

    what: str
    words: str
    passed: bool | None = None
    figures: Figures = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Word for the table."""
        return {None: "", True: "ok", False: "FAILED"}[self.passed]


@dataclass
class PartRecord:
    """One part: its state, the rows it gave so far, and why it has no more."""

    name: str
    about: str
    judges: bool  # whether what it finds is right, and not only how fast
    budget_seconds: float
    state: str = WAITING
    reason: str | None = None
    seconds: float | None = None
    rows: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool | None:
        """True if all that was to be judged was, and is right; None for a part that judges nothing."""
        if not self.judges:
            return None
        return self.state == DONE and bool(self.rows) and all(row.passed is not False for row in self.rows)


@dataclass
class Record:
    """Record of one run, written to its file whenever something is added."""

    device: str  # cuda | cpu
    is_rehearsal: bool  # on the CPU with tiny networks: its figures say nothing of a GPU
    limit_seconds: float
    packages: dict[str, str]  # version by name
    missing: dict[str, str]  # what is done without it, by the package's name
    parts: list[PartRecord]
    path: Path | None = None
    started_at: float = field(default_factory=time.time)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True if each part that judges has passed."""
        return all(part.passed is not False for part in self.parts)

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        content = dataclasses.asdict(self)
        del content["path"]
        for part, record in zip(content["parts"], self.parts, strict=True):
            part["passed"] = record.passed
        return {"schema": SCHEMA, **content, "passed": self.passed}

    def save(self) -> None:
        """Write the file, where there is one. Raises OSError."""
        if self.path is not None:
            write_json(self.path, self.as_json())


def table_head() -> list[str]:
    """Return the first lines of the table."""
    return ["| part | what | | found |", "|---|---|---|---|"]


def table_row(part: str, row: Row) -> str:
    """Return the table's line for a row."""
    words = row.words.replace("|", "/").replace("\n", " ")
    return f"| {part} | {row.what} | {row.verdict} | {words} |"
