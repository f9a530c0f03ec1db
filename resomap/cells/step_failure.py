"""Failure of a step of the workflow: its reason, left in a file for whoever shows how the run ended.

A step may run on another machine, where its words reach no terminal, and Snakemake's log tells its command alone. So
the file's name is made of the command's words: the step knows them, and so does the log.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resomap.cells.study import STATE_DIRECTORY
from resomap.core.errors import ResomapError, refusal
from resomap.core.files import read_json, write_json
from resomap.core.json_object import known_values

DIRECTORY = STATE_DIRECTORY / "failures"


@dataclass(frozen=True)
class StepFailure:
    """Reason why a step failed; `names_way_out` where it is a sentence that tells what to do about it."""

    reason: str
    names_way_out: bool
    at: float = field(default_factory=time.time)

    @classmethod
    def of(cls, error: BaseException) -> "StepFailure":
        """Return the failure that an exception is."""
        if isinstance(error, ResomapError):
            return cls(str(error), True)
        if isinstance(error, OSError) and (sentence := refusal(error)) is not None:
            return cls(sentence, True)
        return cls(f"{type(error).__name__}: {' '.join(str(error).split())}", False)

    @classmethod
    def read(cls, path: Path) -> "StepFailure | None":
        """Return the failure, or None where there is none or the file is damaged."""
        known = known_values(cls, read_json(path))
        return None if known is None else cls(**known)

    def write(self, words: Sequence[str]) -> None:
        """Write atomically, where a study works and the command has words; elsewhere nothing is left behind.

        Nothing is raised where it cannot be written: what failed is the failure itself.
        """
        if words and STATE_DIRECTORY.is_dir():
            with contextlib.suppress(OSError):
                write_json(failure_file(words), dataclasses.asdict(self))


def failure_file(words: Sequence[str]) -> Path:
    """Return the path of a step's failure, by the words of its command behind `python -m resomap`."""
    digest = hashlib.blake2b("\0".join(words).encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return DIRECTORY / f"{words[0]}-{digest}.json"


def failure_file_of(command: str) -> Path | None:
    """Return the path of the failure of a job's shell command; None where the command is no step of ResoMap."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError:
        return None
    starts = [place for place in range(len(words) - 2) if words[place : place + 2] == ["-m", "resomap"]]
    behind = itertools.takewhile(lambda word: not set(word) <= set("();<>|&"), words[starts[0] + 2 :] if starts else [])
    return failure_file(found) if (found := list(behind)) else None
