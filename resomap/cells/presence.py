"""Main processes of Snakemake: files of those in this directory, below `.resomap/running/`, and names of their runs.

A run's name tells machine, process number and start of its main process, and so whether that one still lives.
"""

import os
import time

from resomap.cells.study import STATE_DIRECTORY
from resomap.core.temporary import machine
from resomap.machine.processes import START_SLACK_SECONDS, process_lives, process_start, works_here

RUNNING = STATE_DIRECTORY / "running"
RUN_VARIABLE = "RESOMAP_RUN"  # for the jobs of a run


def announce_run() -> None:
    """Have this process and its jobs know the run by the name of this main process."""
    os.environ[RUN_VARIABLE] = own_name()


def run_name() -> str:
    """Return the name of the run that this process belongs to; empty outside of one."""
    return os.environ.get(RUN_VARIABLE, "")


def run_here() -> str | None:
    """Return the name of the run, where its main process is one of this machine."""
    name = run_name()
    return name if _parts(name) is not None and _is_here(name) else None


def own_name() -> str:
    """Return the name of this process, which no other has."""
    return f"{machine()}-{os.getpid()}-{process_start(os.getpid()) or 0}"


def lives(name: str) -> bool:
    """Return True while the process of this machine lives that has this name."""
    parts = _parts(name)
    return parts is not None and process_lives(parts[0], time.time(), parts[1] or None)


def lives_here(name: str) -> bool:
    """Return True while the process lives that has this name, where it is one of this machine."""
    return _is_here(name) and lives(name)


def _is_here(name: str) -> bool:
    return name.startswith(f"{machine()}-")


def _parts(name: str) -> tuple[int, int] | None:
    """Return process number and start in a name; None for what is no name."""
    _, *numbers = name.split("-")
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return None
    return int(numbers[0]), int(numbers[1])


def is_snakemake_running() -> bool:
    """Return True if a main process of Snakemake that was started on this machine still runs jobs here.

    Told from the processes, and not from the locks that they hold: a look must not be taken for another run.
    """
    try:
        files = list(RUNNING.iterdir())
    except OSError:
        return False
    for path in files:
        try:
            began_by = path.stat().st_mtime + START_SLACK_SECONDS
        except OSError:
            continue  # it has just ended
        if path.name.isdecimal() and process_lives(int(path.name), began_by) and works_here(int(path.name)):
            return True
    return False
