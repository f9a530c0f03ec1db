"""Record of one Snakemake run: the jobs planned, started, finished and failed, from its log events.

Its times are seconds on the monotonic clock: a clock that is set while a run lasts does not change how long it took.
"""

import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resomap.cells import timeline
from resomap.cells.cell import Cell
from resomap.cells.presence import run_name
from resomap.cells.progress import Failure, Progress, reading
from resomap.cells.step_failure import StepFailure, failure_file_of
from resomap.cells.winner_cell import Winner
from resomap.core.errors import Interrupted
from resomap.core.files import read_json
from resomap.core.text import duration, is_whole_number
from resomap.data import DATA_DIRECTORY
from resomap.data.left_out import in_words, left_out
from resomap.estimates.outlook import Outlook, etas
from resomap.planning.training_rule import is_training, is_winner
from resomap.tracking.elsewhere import Elsewhere

# A training whose epochs are longer than this has lines for its steps in between.
STEP_LINE_SECONDS = 60.0


@dataclass
class Job:
    """A job of the run, with its state by the last event."""

    rule: str
    wildcards: dict[str, str]
    log: list[str]
    outputs: list[str]
    started: float  # start of the last attempt
    number: int = 0  # position among the trainings in the order of their starts
    cell: Cell | None = None
    state: str = "running"  # running | done | failed | elsewhere
    command: str = ""
    ending: str = ""  # how the job's process ended, in words
    failure: Failure | None = None
    step_failure: StepFailure | None = None  # of any step that could still tell why
    other: Elsewhere | None = None  # the run that counts in place of this one
    stale_progress: Progress | None = None  # what an earlier attempt had left
    stale_failure: Failure | None = None
    stale_other: Elsewhere | None = None
    stale_step_failure: StepFailure | None = None
    metric: str = "balanced_accuracy"
    shown: tuple[int, str] | None = None  # epoch and state of the last progress line
    shown_at: float = 0.0

    @property
    def name(self) -> str:
        """Name of the cell, `vgg11@320`, or the rule with its wildcards for a job that trains no cell."""
        return self.cell.name if self.cell else " ".join([self.rule, *self.wildcards.values()]).strip()

    @property
    def reason(self) -> str:
        """The reason why the job failed, in the words that it left itself; empty where it left none."""
        return self.failure.reason if self.failure else self.step_failure.reason if self.step_failure else ""

    @property
    def stopped(self) -> str:
        """Point at which a training that was asked to stop left off, in words: `saved at epoch 4, step 12`."""
        found = re.match(r"SIG\w+ at ([^:]+): saved", self.reason)
        if found:
            return f"saved at {found[1]}"
        return f"stopped: {self.reason}" if self.reason else "stopped"

    @property
    def target(self) -> str:
        """Target that runs the job again: the cell's marker, else the first output; empty without one."""
        return str(self.cell.marker) if self.cell else next(iter(self.outputs), "")


@dataclass
class Sweep:
    """Record of the run's jobs. `root` is the directory that results/ lies in."""

    root: Path = field(default_factory=Path.cwd)
    planned: dict[str, int] = field(default_factory=dict)  # jobs by rule
    jobs: dict[int, Job] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)  # time of the last event
    outlook: Outlook = field(default_factory=lambda: Outlook([]))

    @property
    def trainings(self) -> int:
        """Number of cells that this run is to train."""
        return sum(count for rule, count in self.planned.items() if is_training(rule))

    def plan(self) -> None:
        """Add the plan to the timeline of the study."""
        self.outlook = Outlook(timeline.read(self.root / timeline.PATH))
        self.outlook.take(timeline.append(run_name(), "plan", self.root, planned=self.planned))

    def end(self) -> None:
        """Add the run's end to the timeline of the study."""
        timeline.append(run_name(), "end", self.root)

    def start(self, info: Mapping[str, Any], at: float) -> Job:
        """Record a job's start (again, where it is tried once more) from the fields of Snakemake's JOB_INFO."""
        wildcards = {name: str(value) for name, value in (info.get("wildcards") or {}).items()}
        job = Job(str(info["rule_name"]), wildcards, list(info["log"] or []), list(info["output"] or []), at)
        job.command = str(info.get("shellcmd") or "").strip()
        job.stale_step_failure = self._step_failure(job)
        job.cell = _cell(job)
        if job.cell:
            job.stale_progress = Progress.read(self._beside(job.cell, "progress.json"))
            job.stale_failure = Failure.read(self._beside(job.cell, "failed.json"))
            earlier = self.jobs.get(info["jobid"])
            # A second attempt that meets the note of the first one ends without writing it again.
            other = Elsewhere.read(self._beside(job.cell, "elsewhere.json"))
            job.stale_other = earlier.stale_other if earlier else other
            job.number = earlier.number if earlier else 1 + sum(1 for other in self.jobs.values() if other.cell)
        self.jobs[info["jobid"]] = job
        self.last = at
        self._note("start", job)
        return job

    def finish(self, jobid: int, at: float) -> Job | None:
        """Record a job's success."""
        job, self.last = self.jobs.get(jobid), at
        if job:
            job.state = "done"
            self._note("done", job)
        return job

    def fail(self, info: Mapping[str, Any], at: float) -> Job:
        """Record a job's failure; a later `start` of the same job takes it back."""
        job = self.jobs.get(info["jobid"])
        if job is None:  # what stands there is its own
            job = replace(self.start(info, at), stale_failure=None, stale_other=None)
            self.jobs[info["jobid"]] = job
        self.last = at
        job.state = "failed"
        job.log = list(info["log"] or []) or job.log
        failure = Failure.read(self._beside(job.cell, "failed.json")) if job.cell else None
        # Left by an earlier attempt and not by this one: this one died without a word.
        if failure != job.stale_failure:
            job.failure = failure
        step = self._step_failure(job)
        if step and (step.at >= job.started - 1 or step != job.stale_step_failure):
            job.step_failure = step
        other = Elsewhere.read(self._beside(job.cell, "elsewhere.json")) if job.cell else None
        if other and other != job.stale_other and not job.failure:
            job.state, job.other = "elsewhere", other  # it gave way: no failure
        self._note("failed", job)
        return job

    def explain(self, message: str) -> Job | None:
        """Find the job of Snakemake's `Command '...' returned non-zero exit status 3.`; record how it ended."""
        found = re.search(r"' (?:returned non-zero exit status (\d+)|died with <Signals\.(\w+))", message)
        for job in self.jobs.values() if found else ():
            if found and job.state == "running" and job.command and job.command in message:
                job.ending = ending(found[2] or int(found[1]))
                return job
        return None

    def settle(self) -> None:
        """Record running jobs with outputs as done, at the run's end: --quiet hides the events of finished jobs.

        Snakemake deletes a job's outputs before the job starts and after it fails, so what is there is new and whole.
        """
        for job in self.jobs.values():
            if job.state == "running" and job.target and (self.root / job.target).exists():
                job.state = "done"

    def count(self, state: str, trainings_only: bool = True) -> int:
        """Return the number of jobs in this state."""
        return sum(job.state == state for job in self.jobs.values() if job.cell or not trainings_only)

    def failed(self) -> list[Job]:
        """Return the jobs whose last attempt failed, trainings first."""
        failed = [job for job in self.jobs.values() if job.state == "failed"]
        return sorted(failed, key=lambda job: (job.cell is None, job.number))

    def is_last_word(self, job: Job) -> bool:
        """Return True where a failed step's own sentence, which names the way out, is what the run now ends with."""
        others = any(other.state == "running" for other in self.jobs.values())
        return job.step_failure is not None and job.step_failure.names_way_out and not job.failure and not others

    def progress_lines(self, now: float) -> Iterator[str]:
        """Yield a line for each running training that made progress since its last line."""
        for job in list(self.jobs.values()):
            if job.cell is None or job.state != "running":
                continue
            progress = self.progress(job)
            if progress is None or progress.state == "starting":
                continue
            point = (progress.epoch, progress.state if progress.state == "sending" else "")
            if point == job.shown and now - job.shown_at < STEP_LINE_SECONDS:
                continue
            job.metric = progress.metric if progress.split == "val" else job.metric
            if job.shown is None and progress.epoch == 0 and now - job.started < STEP_LINE_SECONDS:
                continue  # nothing is known yet that "start" did not say
            is_new = point != job.shown
            job.shown, job.shown_at = point, now
            line = describe(progress, with_step=not is_new or not progress.epoch)
            yield f"[{job.number}/{self.trainings}] {line}"

    def progress(self, job: Job) -> Progress | None:
        """Return the progress of a running training; None before it has written any in this attempt."""
        found = Progress.read(self._beside(job.cell, "progress.json")) if job.cell else None
        return None if found == job.stale_progress else found

    def seconds_to_go(self) -> float | None:
        """Return the seconds until all that was planned is done; None before anything is known."""
        running = {job.name: self.progress(job) for job in self.jobs.values() if job.cell and job.state == "running"}
        return self.outlook.seconds_to_go(time.time(), etas(running))

    def outcome(self, job: Job) -> str:
        """Return the outcome in words, empty where there is none.

        `val balanced_accuracy 0.840 (test 0.831)` of a cell, `3 left out (...)` of the images.
        """
        if str(DATA_DIRECTORY / "manifest.json") in job.outputs:
            return in_words(left_out(self.root / DATA_DIRECTORY))
        if job.cell is None:
            return ""
        marker = read_json(self._beside(job.cell, "done"))
        metrics = marker.get("metrics") if isinstance(marker, dict) else None
        if not isinstance(metrics, dict):
            return ""
        value, test = (metrics.get(f"{split}/{job.metric}") for split in ("val", "test"))
        if not isinstance(value, int | float):  # of a winner, which validation images do not judge
            return f"test {job.metric} {test:.3f}" if isinstance(test, int | float) else ""
        return f"val {job.metric} {value:.3f}" + (f" (test {test:.3f})" if isinstance(test, int | float) else "")

    def _note(self, kind: str, job: Job) -> None:
        """Add an event of a job to the timeline of the study."""
        marker = read_json(self._beside(job.cell, "done")) if job.cell and kind == "done" else None
        cost = marker.get("cost") if isinstance(marker, dict) else None
        seconds = cost.get("train_seconds") if isinstance(cost, dict) else None
        training = float(seconds) if isinstance(seconds, int | float) else None
        self.outlook.take(timeline.append(run_name(), kind, self.root, rule=job.rule, name=job.name, training=training))

    def _step_failure(self, job: Job) -> StepFailure | None:
        path = failure_file_of(job.command)
        return StepFailure.read(self.root / path) if path else None

    def _beside(self, cell: Cell, extension: str) -> Path:
        return self.root / cell.beside_marker(extension)


def ending(status: int | str) -> str:
    """Return how a training ended, in words, by its exit status (128 + n from a shell: signal n) or a signal's name."""
    if isinstance(status, int) and status == Interrupted.exit_code:
        return "it was interrupted and saved its checkpoint"
    try:
        name = signal.Signals(status - 128).name if isinstance(status, int) else status
    except ValueError:
        return f"it ended with exit status {status}"
    hint = ", often for lack of memory" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"


def describe(progress: Progress, with_step: bool = False) -> str:
    """Return a line of progress, for example `vgg11@320 epoch 12/25 val balanced_accuracy 0.83 ETA 14 min`."""
    parts = [f"{progress.cell} epoch {progress.epoch}/{progress.epochs}"]
    if with_step and progress.steps_per_epoch:
        parts.append(f"step {progress.step}/{progress.steps_per_epoch}")
    if progress.value is not None:
        parts.append(reading(progress))
    if progress.state == "sending":
        parts.append("sending to the tracker")
    elif progress.eta_seconds is not None:
        parts.append(f"ETA {duration(progress.eta_seconds)}")
    return " ".join(parts)


def _cell(job: Job) -> Cell | None:
    """Return the cell that a training's wildcards name; its paths do not need fold, seed and family."""
    if is_winner(job.rule):
        return Winner.of_any_cell()
    model, resolution = job.wildcards.get("model"), job.wildcards.get("resolution", "")
    if not is_training(job.rule) or not model or not is_whole_number(resolution):
        return None
    return Cell(model, int(resolution), 0, "", job.wildcards.get("suffix", ""))
