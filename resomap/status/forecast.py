"""Forecast of the time to go: of a run, until all it planned is done; without one, until all cells are trained."""

import os
import time
from collections.abc import Callable, Iterable

from resomap.cells import timeline
from resomap.cells.cell import Cell
from resomap.cells.presence import lives_here
from resomap.cells.study import Study
from resomap.estimates.duration import Durations
from resomap.estimates.outlook import Outlook, etas
from resomap.machine.gpus import may_have_gpu
from resomap.status.collect import CellStatus


def predictions(study: Study) -> Durations:
    """Return predicted durations of trainings on this machine, corrected by finished ones of any machine."""
    on_gpu = study.config.device != "cpu" and may_have_gpu()
    return Durations(study, "cuda" if on_gpu else "cpu", os.cpu_count() or 1)


def of_running_run(statuses: Iterable[CellStatus]) -> float | None:
    """Return the seconds until the run that began last has done all it planned, as its bar shows them.

    None where it has ended, was killed, or nothing is known yet.
    """
    outlook = Outlook(timeline.read())
    running = {status.cell.name: status.progress for status in statuses if status.state == "running"}
    if not outlook.run or not (lives_here(outlook.run) or any(running)):
        return None
    return outlook.seconds_to_go(time.time(), etas(running))


def seconds_to_go(statuses: Iterable[CellStatus], predicted: Callable[[Cell], float]) -> float | None:
    """Return the seconds until no cell waits or runs, with as many trainings at once as run now; None if none does.

    `predicted` gives the seconds of a whole training. A failed cell has no part in it, because it waits for a person,
    and neither has one that runs elsewhere.
    """
    running, waiting = [], []
    for status in statuses:
        progress = status.progress
        if status.state == "running" and progress is not None:
            known = progress.eta_seconds
            left = 1 - progress.epoch / max(1, progress.epochs)
            running.append(known if known is not None else left * predicted(status.cell))
        elif status.state == "waiting" and not status.is_elsewhere and not status.is_winner:  # which nobody asked for
            waiting.append(predicted(status.cell))
    if not running and not waiting:
        return None
    # No training is shared out among several places: the longest one is the least that it takes.
    return max(sum(running + waiting) / max(1, len(running)), *running, *waiting, 0.0)
