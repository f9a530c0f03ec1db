"""Processes of this machine that were noted down earlier: does one still live?"""

import os
from pathlib import Path

# Of a moment that was noted down: a process that began this much later has only inherited the number.
START_SLACK_SECONDS = 60.0


def process_start(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the machine's start; None where the system does not tell.

    A start as Unix time moves with each change of the clock; this one stays.
    """
    try:
        # Behind the name in parentheses, which may hold anything, the 20th field: proc_pid_stat(5).
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def works_here(pid: int) -> bool:
    """Return True if a process has this working directory, and where the system does not tell."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", ".")
    except OSError:
        return True


def process_lives(pid: int, began_by: float, start: int | None = None) -> bool:
    """True where process `pid` runs and began at `start` (see `process_start`), if that was noted down.

    Else it is one that began at the Unix time `began_by` or before, by the clock of now.

    A zombie is dead, and a younger process has only inherited the number. A process of which the system tells no more
    than that it exists counts as living: one of another user may be hidden in /proc (its mount option `hidepid`).
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)  # psutil.pid_exists also looks into /proc, and denies what is hidden there
    except PermissionError:
        pass  # it lives, under another user
    except (ProcessLookupError, OverflowError):
        return False
    import psutil  # here: it takes 17 ms, and only where a cell is noted as running is there a process to look at

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        began = process_start(pid)
        return process.create_time() <= began_by if None in (start, began) else began == start
    except psutil.Error:
        return True
