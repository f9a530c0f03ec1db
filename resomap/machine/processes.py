"""Processes of this machine that were noted down earlier: does one still live?"""

import os


def process_lives(pid: int, began_by: float) -> bool:
    """True where process `pid` runs and began at the Unix time `began_by` or before.

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
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= began_by
    except psutil.Error:
        return True
