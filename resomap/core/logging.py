"""The per-cell log file: it survives retries and resumes, because each attempt is appended."""

import os
import sys
import time
from pathlib import Path


def send_output_to(log: Path) -> None:
    """Redirect all output of this process and its children to the log file, appended to it.

    File descriptors are redirected, not only Python's streams: a crash in compiled code leaves its words too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def say(sentence: str) -> None:
    """Print one line with its time."""
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}", flush=True)
