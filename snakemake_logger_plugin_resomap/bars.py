"""Progress bars on a terminal: one for each running training and one for the sweep, below the lines of the log."""

import os
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from resomap.cells.progress import Progress, figures
from resomap.core.logging import BARS_VARIABLE, QUIET_STEPS
from resomap.core.text import duration

if TYPE_CHECKING:
    from rich.progress import TaskID

    from snakemake_logger_plugin_resomap.sweep import Job, Sweep

REFRESH_PER_SECOND = 2.0
WIDTH = 24  # of a bar, in columns


class Bars:
    """Progress bars, shown from the first training to the end of the run, until `stop`.

    Lines that are written meanwhile go through `write`. The jobs before the first training write to the terminal
    themselves, and so does any other that is not in `QUIET_STEPS`: there are no bars while only such jobs run.
    """

    def __init__(self, stream: IO[str], sweep: "Sweep", colour: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Display

        self._sweep = sweep
        console = Console(file=stream, force_terminal=True, highlight=False, no_color=not colour)
        self._display = Display(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=WIDTH),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            transient=True,  # what stays at the end are the lines
            refresh_per_second=REFRESH_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._sweep_bar = self._display.add_task("sweep", total=1.0, words="")
        self._tasks: dict[int, TaskID] = {}
        self._share = 0.0
        self._is_shown = False
        os.environ[BARS_VARIABLE] = "1"

    def write(self, text: str) -> None:
        """Write a line above the bars."""
        self._display.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def hide_during(self, emit: Callable[[], None]) -> None:
        """Hide the bars while `emit` writes to the terminal."""
        shown = self._is_shown
        self._show(False)
        try:
            emit()
        finally:
            self._show(shown)

    def update(self) -> None:
        """Redraw the bars from the record of the sweep and the progress files."""
        jobs = list(self._sweep.jobs.values())
        running = {job.number: job for job in jobs if job.cell and job.state == "running"}
        others = [job for job in jobs if not job.cell and job.state == "running"]
        done, failed = (self._sweep.count(state) for state in ("done", "failed"))
        is_behind = done + failed > 0 and all(map(self.is_quiet, others))
        self._show(bool(running) or is_behind)
        for number in set(self._tasks) - set(running):
            self._display.remove_task(self._tasks.pop(number))
        parts = 0.0
        for number, job in running.items():
            parts += self._draw(number, job)
        words = f"{done}/{self._sweep.trainings} trainings" + (f", {failed} failed" if failed else "")
        if not running and others:
            words += f", {others[0].name}"
        left = self._sweep.seconds_to_go()
        self._share = max(self._share, self._share_of_run(done + failed + parts, left))
        self._display.update(self._sweep_bar, completed=self._share, words=words + to_go(left))

    def is_quiet(self, job: "Job") -> bool:
        """Return True for a job whose words stand in its log alone until it ends."""
        return job.rule.rpartition("_")[2] in QUIET_STEPS

    def stop(self) -> None:
        """Remove the bars. May be called twice."""
        self._show(False)

    def _show(self, shown: bool) -> None:
        if shown and not self._is_shown:
            self._display.start()
        elif self._is_shown and not shown:
            self._display.stop()
        self._is_shown = shown

    def _draw(self, number: int, job: "Job") -> float:
        """Draw the bar of one training; return the share (0..1) of it that is done."""
        progress = self._sweep.progress(job)
        if number not in self._tasks:
            self._tasks[number] = self._display.add_task(job.name, total=1.0, words="starting")
        if progress is None:
            return 0.0
        share = share_done(progress)
        self._display.update(self._tasks[number], completed=share, words=progress_text(progress))
        return share

    def _share_of_run(self, finished: float, left: float | None) -> float:
        """Return the share (0..1) of the run that is done: of its time, where that is known, else of its cells."""
        if left is None:
            return finished / max(1, self._sweep.trainings)
        elapsed = time.monotonic() - self._sweep.began
        return elapsed / max(1.0, elapsed + left)


def to_go(seconds: float | None) -> str:
    """Return the time to go as text behind other words: `, about 14 min to go`; empty where it is not known."""
    return "" if seconds is None else f", about {duration(seconds)} to go"


def share_done(progress: Progress) -> float:
    """Return the share (0..1) of a training's steps that is done."""
    if not progress.epochs:
        return 0.0
    within = progress.step / progress.steps_per_epoch if progress.steps_per_epoch else 0.0
    return min(1.0, (progress.epoch + within) / progress.epochs)


def progress_text(progress: Progress) -> str:
    """Return the text behind a bar, for example `12/25 val 0.830 145 images/s ETA 14 min`."""
    parts = [f"{progress.epoch}/{progress.epochs}"]
    if progress.state not in ("training", "starting"):
        parts.append(progress.state)
    return " ".join([*parts, *figures(progress)])
