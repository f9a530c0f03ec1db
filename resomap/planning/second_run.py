"""A second run in a folder in which another one makes the same files: who runs, since when, and what to do about it.

Snakemake's own words are about a lock that a kill left, and name `--unlock`, which would take that of a living run.
"""

import os
import socket
import time
from pathlib import Path

from resomap.cells.presence import RUNNING
from resomap.cells.resume_command import run_command
from resomap.core.files import read_json
from resomap.core.text import duration


def record() -> dict[str, object]:
    """Return what a main process notes about itself, for who comes second."""
    return {"process": os.getpid(), "host": socket.gethostname(), "since": time.time()}


def sentence(directory: Path) -> str | None:
    """Return the sentence for a run that found another one at work in a study's folder.

    None where no study has run: the lock is another workflow's, and Snakemake's own words hold for it.
    """
    if not (directory / RUNNING).is_dir():
        return None
    own = str(os.getpid())
    others = [_words(path) for path in sorted((directory / RUNNING).glob("*")) if path.name != own]
    who = " and ".join(others)
    if not who:
        return (
            f"{directory.absolute()} is locked by a snakemake that left no word here, of another workflow or on "
            "another machine; wait for it, or give this study a folder of its own with --directory; where none "
            "runs any more, the same command once more takes the lock away"
        )
    watch = run_command(directory, ["--watch", "10"], subcommand="status")
    return (
        f"{who} runs in {directory.absolute()} already and makes these files; wait for it (`{watch}` shows it), or "
        "give this study a folder of its own with --directory"
    )


def _words(path: Path) -> str:
    """Return who a main process is, by its file: `snakemake (process 4711 on host, since 14:05, 20 min ago)`."""
    content = read_json(path)
    noted = content if isinstance(content, dict) else {}
    since = noted.get("since")
    began = float(since) if isinstance(since, int | float) else path.stat().st_mtime
    at = time.strftime("%H:%M" if time.time() - began < 12 * 3600 else "%Y-%m-%d %H:%M", time.localtime(began))
    host = f" on {noted['host']}" if isinstance(noted.get("host"), str) else ""
    return f"snakemake (process {path.name}{host}, since {at}, {duration(max(0.0, time.time() - began))} ago)"
