"""Finding of the doctor: one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """A finding: `bad` stops a grid or loses something; `note` is worth knowing. `remedy` is what to type or change."""

    level: Literal["ok", "note", "bad"]
    subject: str  # device, disk, data, tracker, credentials, DagsHub, Slurm
    words: str
    remedy: str = ""

    def lines(self) -> str:
        """Return `bad tracker it answered 401 ...`, and the remedy below it."""
        text = f"{self.level:<5} {self.subject:<12} {self.words}"
        return f"{text}\n{'':<5} {'':<12} -> {self.remedy}" if self.remedy else text
