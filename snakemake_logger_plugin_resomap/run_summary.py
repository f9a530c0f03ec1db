"""Summary of a run: trainings completed, failed and remaining, and the command that resumes each failed one."""

from collections.abc import Callable
from pathlib import Path

from resomap.core.place import short, typed_in
from resomap.core.text import duration
from snakemake_logger_plugin_resomap.sweep import Job, Sweep


def summary(sweep: Sweep, resume_command: Callable[[str], str]) -> str:
    """Return the summary of a run as text; `resume_command` gives the command that resumes a target."""
    counts_trainings = sweep.trainings > 0
    planned = sweep.trainings if counts_trainings else sum(sweep.planned.values())
    done, failed = (sweep.count(state, counts_trainings) for state in ("done", "failed"))
    what = "trainings" if counts_trainings else "jobs"
    lines = [
        f"This run's {what}: {done} completed, {failed} failed, {max(0, planned - done - failed)} remaining "
        f"({duration(sweep.last - sweep.began)})"
    ]
    lines += [
        f"training {job.name} is {job.other}: once that run is complete, this one needs no training"
        for job in sweep.jobs.values()
        if job.other
    ]
    for job in sweep.failed():
        lines += _failed(job, resume_command, sweep.root)
    return "\n".join(lines)


def stopped_summary(sweep: Sweep, again: str) -> str:
    """Return the summary of a run that a person stopped; `again` is the command line that goes on."""
    done = sweep.count("done")
    spent = duration(sweep.last - sweep.began)
    lines = [f"Stopped: {done} trainings completed, {max(0, sweep.trainings - done)} to go ({spent})"]
    lines += [f"{job.name} {job.stopped}" for job in sweep.failed() if job.cell]
    return "\n".join([*lines, f"go on with: {again}"])


def _failed(job: Job, resume_command: Callable[[str], str], root: Path) -> list[str]:
    lines = [f"{'training' if job.cell else 'job'} {job.name} failed: {_reason(job)}"]
    if job.step_failure and job.step_failure.names_way_out and not job.failure:
        return lines  # the way out is the last word
    own = [str(job.cell.beside_marker("log"))] if job.cell else []  # of all attempts
    log = job.failure.log if job.failure else ", ".join(own or job.log)
    if log:
        # Where the run was typed elsewhere, its path from there.
        lines.append(f"    log     {log if root.resolve() == typed_in().resolve() else short(root / log)}")
    resume = job.failure.resume if job.failure else resume_command(job.target)
    return [*lines, f"    resume  {resume}"]


def _reason(job: Job) -> str:
    if job.reason:
        return job.reason
    return f"{job.ending or 'its process ended without giving a reason'} (rule {job.rule})"
