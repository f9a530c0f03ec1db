"""Log files: that of a cell, which survives retries and resumes, and that of a step, which Snakemake shows.

Each attempt is appended to the first; the second has the words of the last attempt alone.
"""

import contextlib
import io
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from resomap.core.errors import ResomapError
from resomap.core.files import open_own

# Set where progress bars are on the terminal: meanwhile these steps write to their logs alone, and what stands there
# is shown when they end.
BARS_VARIABLE = "RESOMAP_BARS"
QUIET_STEPS = ("evaluate", "cost", "costs", "map", "report")


def send_output_to(log: Path) -> None:
    """Redirect all output of this process and its children to the log file, appended to it.

    File descriptors are redirected, not only Python's streams: a crash in compiled code leaves its words too. On a full
    disk words are lost, and nothing else.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    lose_words_on_full_disk()


def lose_words_on_full_disk() -> None:
    """Have prints of this process, whose output is a file, raise nothing where the file cannot take them."""
    sys.stdout, sys.stderr = _lossy(1), _lossy(2)


def _lossy(descriptor: int) -> TextIO:
    raw = _Lossy(descriptor, "wb", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), errors="backslashreplace", line_buffering=True)


class _Lossy(io.FileIO):
    """File that takes every write, and keeps what the disk takes of it."""

    def write(self, data: Any) -> int:
        """Write the bytes, or lose them; return their number."""
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


def copy_output_to(log: Path, step: str = "") -> None:
    """Have what this process prints stand in a log file too. Without a place for it, the terminal has it alone.

    A step in `QUIET_STEPS` writes to its log alone while there are bars on the terminal.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        stream = _lossy(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    except (OSError, ResomapError):
        return
    if step in QUIET_STEPS and os.environ.get(BARS_VARIABLE):
        sys.stdout = sys.stderr = stream
    else:
        sys.stdout, sys.stderr = _Copied(sys.stdout, stream), _Copied(sys.stderr, stream)


class _Copied:
    """Text stream whose text goes to a log as well."""

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self._stream, self._log = stream, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text to both."""
        self._log.write(text)
        return self._stream.write(text)


def say(sentence: str) -> None:
    """Print one line with its time."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}", flush=True)
