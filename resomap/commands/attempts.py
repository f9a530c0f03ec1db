"""Attempt at a training from a command: what its end says, and to whom: log, terminal, failure file, Snakemake."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO

from resomap.cells.step_failure import StepFailure
from resomap.core.errors import Interrupted, ResomapError, RunsElsewhere, refusal
from resomap.core.logging import say
from resomap.machine.slurm import requeue_at_time_limit
from resomap.train.request import Request, record_failure
from resomap.train.signals import SignalWatch


def attempt(request: Request, log: Path, terminal: IO[str], train: Callable[[], object], signals: SignalWatch) -> int:
    """Run an attempt whose output goes to `log`; return its exit code.

    `terminal` is where a person looks; `signals` are heard while it runs.
    """
    cell, grace = request.cell, request.study.config.checkpoints.grace_seconds
    try:
        train()
    except Interrupted as error:
        say(f"interrupted: {error}")
        requeue_at_time_limit(grace, say)
        print(f"resomap: {cell.name}: {error}", file=terminal, flush=True)
        StepFailure(str(error), names_way_out=False).write(sys.argv[1:])  # for the end of a run that was stopped
        # At once: a save that did not end in its grace still runs in a thread, on which a normal exit would trip.
        os._exit(error.exit_code)
    except RunsElsewhere as error:
        # No failure: nothing is wrong here, and nothing is to be mended.
        say(f"gave way: {error}")
        print(f"resomap: {cell.name} is {error}", file=terminal, flush=True)
        request.progress_path.unlink(missing_ok=True)
        return error.exit_code
    except Exception as error:
        if not isinstance(error, ResomapError) and not (isinstance(error, OSError) and refusal(error)):
            traceback.print_exc()
        failure = record_failure(request, error, log)
        say(f"failed: {failure.reason}")
        print(f"resomap: {cell.name} failed: {failure.reason} (log: {log})", file=terminal, flush=True)
        return failure.exit_code
    if signals.received is not None:
        # Snakemake got the signal too, and in a job it calls what it waited for a failure, whatever that ended as. In
        # the queue again, the job finds the marker, and ends well.
        requeue_at_time_limit(grace, say)
    return 0
