"""Main processes of Snakemake in this directory: a file each below `.resomap/running/`, named by its process number."""

from resomap.cells.study import STATE_DIRECTORY
from resomap.machine.processes import START_SLACK_SECONDS, process_lives, works_here

RUNNING = STATE_DIRECTORY / "running"


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
