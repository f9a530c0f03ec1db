"""The log of a ResoMap run in place of Snakemake's: a line for what a person wants to know, errors in full.

A dry run is Snakemake's own output, unchanged, and does without this handler unless it is asked for by name. Whatever
this handler has no better line for goes through Snakemake's formatter too, so that nothing of importance is lost.
"""

import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from snakemake_logger_plugin_resomap.bars import Bars
    from snakemake_logger_plugin_resomap.sweep import Job, Sweep

POLL_SECONDS = 2.0
# Said by the plan and the lines of the jobs, or of no use to somebody who did not ask for --verbose.
SILENT_EVENTS = {
    *(LogEvent.WORKFLOW_STARTED, LogEvent.JOB_STARTED, LogEvent.PROGRESS, LogEvent.RESOURCES_INFO),
    LogEvent.RULEGRAPH,
}
# Which trainings run may be another after these.
CHANGES = {LogEvent.JOB_INFO, LogEvent.JOB_FINISHED, LogEvent.JOB_ERROR}
# What the summary says better.
REPEATED = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not complete")
SILENT_STARTS = (
    *(
        "Assuming unrestricted shared filesystem",
        "Elapsed time",
        "Building DAG of jobs",
        "Using shell",
        "Select jobs to execute",
        "Storing output in storage",
    ),
    *(
        "Shutting down, this might take some time",
        "Complete log",
        "Removing temporary output",
        "Touching output",
    ),
)


class LogHandler(LogHandlerBase):
    """Writes to stderr (a dry run: to stdout), as Snakemake's own does. Runs in Snakemake's log thread."""

    def __post_init__(self) -> None:
        # Imported here, not above: Snakemake is only half loaded while it imports its plugins.
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        settings = self.common_settings
        self._stream = sys.stdout if settings.stdout else sys.stderr
        self._default = ColorizingTextHandler(nocolor=settings.nocolor, stream=self._stream)
        self._default.setFormatter(DefaultFormatter(quiet=settings.quiet, show_failed_logs=settings.show_failed_logs))
        self._asked = DefaultFilter(
            quiet=settings.quiet,
            debug_dag=settings.debug_dag,
            verbose=settings.verbose,
            dryrun=settings.dryrun,
            printshellcmds=settings.printshellcmds,
        )
        self._sweep: Sweep | None = None
        self._bars: Bars | None = None
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._poller: threading.Thread | None = None

    @property
    def writes_to_stream(self) -> bool:
        """Takes the place of Snakemake's handler."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """No: .snakemake/log keeps Snakemake's complete log."""
        return False

    @property
    def has_filter(self) -> bool:
        """Own filter: the books are kept of events that --quiet does not show."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Own formatter."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Book the event and show it."""
        try:
            if self.common_settings.dryrun:
                self._pass_on(record)
                return
            line = self._book(record)
            if line is None or self.common_settings.verbose:
                self._pass_on(record)
            if line and self._asked.filter(record):
                self._write(line, is_bad=record.levelno >= logging.ERROR)
            if self._bars is not None and getattr(record, "event", None) in CHANGES:
                with self._writing:
                    self._bars.update()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """The run is over: stop looking for progress, sum up. May be called twice."""
        if self._sweep is not None and not self._ended.is_set():
            self._ended.set()
            if self._poller is not None:
                self._poller.join(timeout=POLL_SECONDS)
            if self._bars is not None:
                with self._writing:
                    self._bars.stop()
                    self._bars = None
            self._sweep.settle()
            if self._is_asked("all"):
                from resomap.planning.snakemake_cli import command_line
                from snakemake_logger_plugin_resomap.run_summary import summary

                self._write("\n" + summary(self._sweep, command_line.resume_command))
        super().close()

    def _book(self, record: logging.LogRecord) -> str | None:
        """What to show for an event: a line, nothing (""), or Snakemake's own words (None)."""
        event, info = getattr(record, "event", None), record.__dict__
        if event == LogEvent.RUN_INFO:
            return self._plan(info.get("stats") or {})
        if event in SILENT_EVENTS:
            return ""
        text = str(record.msg)
        if event is None and record.levelno < logging.WARNING and text.startswith(SILENT_STARTS):
            return ""
        if self._sweep is None or (event is None and not text.startswith(REPEATED)):
            return None
        if text.startswith(REPEATED) or (event == LogEvent.ERROR and self._sweep.explain(text)):
            return ""
        if event == LogEvent.JOB_INFO:
            job = self._sweep.start(info, record.created)
            if info.get("rule_msg"):
                return None
            return f"{self._label(job)} started" if job.outputs else ""
        if event == LogEvent.JOB_FINISHED:
            done = self._sweep.finish(info.get("job_id", -1), record.created)
            return None if done is None else self._finished(done, record.created)
        if event == LogEvent.JOB_ERROR:
            job = self._sweep.fail(info, record.created)
            if job.other:
                return f"{self._label(job)} is {job.other}, and ended here"
            return f"{self._label(job)} failed: {job.failure.reason}" if job.failure else None
        return None

    def _plan(self, stats: dict[str, int]) -> str:
        from snakemake_logger_plugin_resomap.sweep import Sweep

        self._sweep = Sweep(Path.cwd(), {rule: count for rule, count in stats.items() if rule != "total"})
        if self._sweep.trainings and self._stream.isatty() and self._is_asked("progress"):
            from snakemake_logger_plugin_resomap.bars import Bars

            self._bars = Bars(self._stream, self._sweep, colour=not self._default.nocolor)
        self._poller = threading.Thread(target=self._poll, name="resomap-progress", daemon=True)
        self._poller.start()
        steps = ", ".join(f"{count} {rule}" for rule, count in self._sweep.planned.items())
        return f"Plan: {stats.get('total', 0)} jobs ({steps})"

    def _label(self, job: "Job") -> str:
        """`[7/40] vgg11@320`: the training's place among those of this run."""
        return f"[{job.number}/{self._sweep.trainings}] {job.name}" if job.cell and self._sweep else job.name

    def _finished(self, job: "Job", now: float) -> str:
        from resomap.cells.progress import duration

        if self._sweep is None or not job.outputs:
            return ""
        took = f"done in {duration(max(0.0, now - job.started))}"
        return ", ".join(filter(None, [f"{self._label(job)} {took}", self._sweep.quality(job)]))

    def _poll(self) -> None:
        """Thread: looks into the progress files of the running cells."""
        while not self._ended.wait(POLL_SECONDS):
            if self._bars is not None:
                with self._writing:
                    self._bars.update()
            elif self._sweep is not None and self._is_asked("progress"):
                for line in self._sweep.progress_lines(time.time()):
                    self._write(line)

    def _is_asked(self, kind: str) -> bool:
        from snakemake.logging import is_quiet_about

        return not is_quiet_about(self.common_settings.quiet or (), kind)

    def _pass_on(self, record: logging.LogRecord) -> None:
        if self._asked.filter(record):
            with self._writing:
                if self._bars is None:
                    self._default.emit(record)
                else:
                    self._bars.above(lambda: self._default.emit(record))

    def _write(self, text: str, is_bad: bool = False) -> None:
        """The one place where this plugin's lines leave it, above the bars where there are some."""
        if is_bad and not self._default.nocolor:
            text = f"{self._default.COLOR_SEQ % 31}{text}{self._default.RESET_SEQ}"
        with self._writing:
            if self._bars is None:
                print(text, file=self._stream, flush=True)
            else:
                self._bars.write(text)
