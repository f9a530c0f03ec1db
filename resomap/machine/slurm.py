"""Slurm from inside a job: the job's id, its time limit, and the requeue of a training whose time is up.

A training that is longer than the partition allows saves on the signal that comes before the limit (`--signal`), and
then asks Slurm to put its own job back into the queue: the same job goes on from the checkpoint, and Snakemake, which
waits for that job, spends none of its `retries`.
"""

import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable

# Slurm looks at its clock every half minute or so, and may send the early signal up to a minute too soon.
EARLY_SECONDS = 90
LOOK_SECONDS = 30  # between two looks
START_SECONDS = 30  # until a job's training listens to signals
SHORTEST_LEAD = 10
SECONDS = 20  # for a question to the controller


def job_id() -> str | None:
    """Return the id of the Slurm job that this process belongs to; None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID")


def in_words() -> str:
    """Return `, Slurm job 4711 on node3` for the log; empty outside Slurm."""
    job = job_id()
    return f", Slurm job {job} on {os.environ.get('SLURMD_NODENAME', 'an unknown node')}" if job else ""


def signal_lead(grace_seconds: float, limit_minutes: float = math.inf) -> int:
    """Return the seconds before the time limit at which the signal is asked for: time to end the step, save, requeue.

    Less where the limit is a minute or two. Slurm sends the signal once, as soon as its next look would be too late:
    asked for 60 s before a limit of one minute, it comes before there is a training to get it.
    """
    latest = 60 * limit_minutes - LOOK_SECONDS - START_SECONDS
    return round(max(SHORTEST_LEAD, min(grace_seconds + 30, latest)))


def requeue_at_time_limit(grace_seconds: float, say: Callable[[str], None]) -> bool:
    """Put this job back into the queue if its time is nearly up; return True if that was done.

    After `scancel` and preemption it is not: the first is a person's wish, the second puts the job back by itself.
    """
    job = job_id()
    if job is None or shutil.which("scontrol") is None:
        return False
    left = seconds_left(job)
    if left is None or left > signal_lead(grace_seconds) + EARLY_SECONDS:
        return False
    asked = ask("scontrol", "requeue", job)
    if asked is None or asked.returncode != 0:
        why = asked.stderr.strip() if asked else "scontrol does not answer"
        say(f"the time of job {job} is nearly up, and it could not be put back into the queue: {why}")
        return False
    say(f"the time of job {job} is nearly up: it is back in the queue, and goes on from the checkpoint")
    return True


def seconds_left(job: str) -> int | None:
    """Return the seconds until a running job's time limit.

    None where the job does not run (cancelled, being requeued) or has no limit.
    """
    asked = ask("squeue", "-h", "-j", job, "-o", "%T|%L")
    found = asked.stdout.strip().partition("|") if asked and asked.returncode == 0 else ("", "", "")
    return parse_duration(found[2]) if found[0] == "RUNNING" else None


def parse_duration(text: str) -> int | None:
    """Return the seconds of Slurm's `1-02:03:04`, `02:03:04` or `03:04`; None for its words (UNLIMITED, NOT_SET)."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def ask(*words: str, seconds: float = SECONDS) -> "subprocess.CompletedProcess[str] | None":
    """Run one of Slurm's commands and return the finished process; None where it is missing or does not answer."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
