"""Progress bars on a terminal: one for each running training and one for the sweep, below the lines of the log."""

import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from resomap.cells.progress import Progress, figures
from resomap.core.text import duration

if TYPE_CHECKING:
    from rich.progress import TaskID

    from snakemake_logger_plugin_resomap.sweep import Job, Sweep

REFRESH_PER_SECOND = 2.0
WIDTH = 24  # of a bar, in columns


class Bars:
    """Progress bars, shown while a training runs, until `stop`; lines that are written meanwhile go through `write`.

    The other jobs write to the terminal themselves, so there are no bars while only they run.
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
        self._sweep_bar = self._display.add_task("sweep", total=max(1, sweep.trainings), words="")
        self._tasks: dict[int, TaskID] = {}
        self._is_shown = False

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
        running = {job.number: job for job in self._sweep.jobs.values() if job.cell and job.state == "running"}
        self._show(bool(running))
        for number in set(self._tasks) - set(running):
            self._display.remove_task(self._tasks.pop(number))
        parts = 0.0
        for number, job in running.items():
            parts += self._draw(number, job)
        done, failed = (self._sweep.count(state) for state in ("done", "failed"))
        words = f"{done}/{self._sweep.trainings} trainings" + (f", {failed} failed" if failed else "")
        self._display.update(
            self._sweep_bar, completed=done + failed + parts, words=words + self._time_to_go(done, parts)
        )

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

    def _time_to_go(self, done: int, parts: float) -> str:
        """Return the time to go as text, by what this run's own cells took; empty until half a cell is done.

        It is an upper bound, because the planner's order is longest first.
        """
        finished = done + parts
        left = self._sweep.trainings - self._sweep.count("failed") - finished
        if finished < 0.5 or left <= 0:
            return ""
        elapsed = time.monotonic() - self._sweep.began
        return f", at most about {duration(elapsed * left / finished)} to go"


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
