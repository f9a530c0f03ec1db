"""Log handler of a ResoMap run in place of Snakemake's: a line for what a person wants to know, errors in full.

A dry run has Snakemake's own output, unchanged, and does without this handler unless it is asked for by name. An event
that this handler has no line for goes through Snakemake's formatter, so that nothing of importance is lost.
"""

import contextlib
import logging
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from resomap.planning.interruption import interruption

if TYPE_CHECKING:
    from snakemake_logger_plugin_resomap.bars import Bars
    from snakemake_logger_plugin_resomap.sweep import Job, Sweep

POLL_SECONDS = 2.0
# In the plan and the lines of the jobs already, or of no use to somebody who did not ask for --verbose.
SILENT_EVENTS = {
    *(LogEvent.WORKFLOW_STARTED, LogEvent.JOB_STARTED, LogEvent.PROGRESS, LogEvent.RESOURCES_INFO),
    LogEvent.RULEGRAPH,
}
# Events after which other trainings may run.
CHANGES = {LogEvent.JOB_INFO, LogEvent.JOB_FINISHED, LogEvent.JOB_ERROR}
# Messages that the summary replaces.
REPEATED = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not complete")
SILENT_STARTS = (
    *(
        "Assuming unrestricted shared filesystem",
        "Elapsed time",
        "Conda environments: ignored",
        "Building DAG of jobs",
        "Using shell",
        "Select jobs to execute",
        "Storing output in storage",
    ),
    *(
        "Terminating processes on user request",
        "Shutting down, this might take some time",
        "Complete log",
        "Removing temporary output",
        "Touching output",
    ),
)


class LogHandler(LogHandlerBase):
    """Log handler that writes to stderr (a dry run: to stdout), as Snakemake's own. Runs in Snakemake's log thread."""

    def __post_init__(self) -> None:
        # Imported here, not above: Snakemake is only half loaded while it imports its plugins.
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        settings = self.common_settings
        self._stream = sys.stdout if settings.stdout else sys.stderr
        self._default = ColorizingTextHandler(nocolor=settings.nocolor, stream=self._stream)
        self._default.setFormatter(DefaultFormatter(quiet=settings.quiet, show_failed_logs=settings.show_failed_logs))
        self._default_filter = DefaultFilter(
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
        """True: it takes the place of Snakemake's handler."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """False: .snakemake/log keeps Snakemake's complete log."""
        return False

    @property
    def has_filter(self) -> bool:
        """True: its own filter, because events that --quiet hides are recorded too."""
        return True

    @property
    def has_formatter(self) -> bool:
        """True: its own lines, and Snakemake's formatter for the rest."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """False: it draws no rule graph."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Record the event and show it."""
        try:
            if self.common_settings.dryrun:
                self._emit_default(record)
                return
            line = self._line(record)
            if line is None or self.common_settings.verbose:
                self._emit_default(record)
            if line and self._default_filter.filter(record):
                self._write(line, is_bad=record.levelno >= logging.ERROR)
            if self._bars is not None and getattr(record, "event", None) in CHANGES:
                with self._writing:
                    self._bars.update()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """End the run: stop polling for progress, write the summary. May be called twice."""
        if self._sweep is not None and not self._ended.is_set():
            self._ended.set()
            if self._poller is not None:
                self._poller.join(timeout=POLL_SECONDS)
            if self._bars is not None:
                with self._writing:
                    self._bars.stop()
                    self._bars = None
            self._sweep.settle()
            self._sweep.end()
            if self._is_asked("all"):
                from resomap.planning.snakemake_cli import command_line
                from snakemake_logger_plugin_resomap.run_summary import stopped_summary, summary

                if interruption.is_asked:
                    self._write("\n" + stopped_summary(self._sweep, command_line.again))
                else:
                    self._write("\n" + summary(self._sweep, command_line.resume_command))
        super().close()

    def _line(self, record: logging.LogRecord) -> str | None:
        """Record an event; return the line to show for it, "" for none, None for Snakemake's own output."""
        event, info, now = getattr(record, "event", None), record.__dict__, time.monotonic()
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
            job = self._sweep.start(info, now)
            if info.get("rule_msg"):
                return None
            return f"{self._label(job)} started" if job.outputs else ""
        if event == LogEvent.JOB_FINISHED:
            done = self._sweep.finish(info.get("job_id", -1), now)
            if done is None:
                return None
            return "\n".join(filter(None, [self._words(done), self._finished(done, now)]))
        if event == LogEvent.JOB_ERROR:
            job = self._sweep.fail(info, now)
            if words := self._words(job):
                self._write(words)
            if interruption.is_asked:
                return ""  # the trainings say where they left off, and the summary once more
            if job.other:
                return f"{self._label(job)} is {job.other}, and ended here"
            if self._sweep.is_last_word(job) and self._is_asked("all"):
                return f"{self._label(job)} failed"  # the summary, which comes at once, ends with the reason
            return f"{self._label(job)} failed: {job.reason}" if job.reason else None
        return None

    def _plan(self, stats: dict[str, int]) -> str:
        from snakemake_logger_plugin_resomap.sweep import Sweep

        self._sweep = Sweep(Path.cwd(), {rule: count for rule, count in stats.items() if rule != "total"})
        self._sweep.plan()
        if self._sweep.trainings and self._stream.isatty() and self._is_asked("progress"):
            from snakemake_logger_plugin_resomap.bars import Bars

            self._bars = Bars(self._stream, self._sweep, colour=not self._default.nocolor)
        self._poller = threading.Thread(target=self._poll, name="resomap-progress", daemon=True)
        self._poller.start()
        steps = ", ".join(f"{count} {rule}" for rule, count in self._sweep.planned.items())
        return f"Plan: {stats.get('total', 0)} jobs ({steps})"

    def _label(self, job: "Job") -> str:
        """Return the job's name with the training's number among those of this run: `[7/40] vgg11@320`."""
        return f"[{job.number}/{self._sweep.trainings}] {job.name}" if job.cell and self._sweep else job.name

    def _finished(self, job: "Job", now: float) -> str:
        from resomap.core.text import duration

        if self._sweep is None or not job.outputs:
            return ""
        took = f"done in {duration(now - job.started)}"
        return ", ".join(filter(None, [f"{self._label(job)} {took}", self._sweep.outcome(job)]))

    def _words(self, job: "Job") -> str:
        """Return what a step has written to its log alone, because there are bars on the terminal."""
        if self._bars is None or self._sweep is None or not self._bars.is_quiet(job):
            return ""
        texts = []
        for log in job.log[:1]:
            with contextlib.suppress(OSError):
                texts.append((self._sweep.root / log).read_text(errors="replace").strip("\n"))
        return "\n".join(texts)

    def _poll(self) -> None:
        """Poll the progress files of the running cells, in a thread."""
        while not self._ended.wait(POLL_SECONDS):
            if self._bars is not None:
                with self._writing:
                    self._bars.update()
            elif self._sweep is not None and self._is_asked("progress"):
                for line in self._sweep.progress_lines(time.monotonic()):
                    self._write(line)

    def _is_asked(self, kind: str) -> bool:
        from snakemake.logging import is_quiet_about

        return not is_quiet_about(self.common_settings.quiet or (), kind)

    def _emit_default(self, record: logging.LogRecord) -> None:
        if self._default_filter.filter(record):
            with self._writing:
                if self._bars is None:
                    self._default.emit(record)
                else:
                    self._bars.hide_during(lambda: self._default.emit(record))

    def _write(self, text: str, is_bad: bool = False) -> None:
        """Write a line of this plugin, above the bars where there are some; all its lines go through here."""
        if is_bad and not self._default.nocolor:
            text = f"{self._default.COLOR_SEQ % 31}{text}{self._default.RESET_SEQ}"
        with self._writing:
            if self._bars is None:
                print(text, file=self._stream, flush=True)
            else:
                self._bars.write(text)
