"""One attempt at one cell as the workflow asks for it, and what is left behind where it fails."""

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.progress import Failure
from resomap.cells.study import Study
from resomap.config import Training
from resomap.core.errors import PermanentFailure, ResomapError, RunsElsewhere
from resomap.tracking.elsewhere import Elsewhere, note_path


@dataclass(frozen=True)
class Request:
    """Which cell to train, and how this attempt may use the machine."""

    study: Study
    cell: Cell
    threads: int
    attempt: int
    say: Callable[[str], None]

    @cached_property
    def fingerprint(self) -> str:
        return self.study.fingerprint(self.cell)

    @cached_property
    def recipe(self) -> Training:
        return self.study.recipe(self.cell)

    @property
    def failure_path(self) -> Path:
        return self.cell.beside_marker("failed.json")

    @property
    def progress_path(self) -> Path:
        return self.cell.beside_marker("progress.json")


def refuse_hopeless_retry(request: Request) -> None:
    """Snakemake's `retries` repeats every failure; one that is marked permanent ends here at once.

    Raises PermanentFailure with the reason of the attempt before, or RunsElsewhere where that one gave way.
    """
    other = Elsewhere.read(note_path(request.cell)) if request.attempt > 1 else None
    if other and other.fingerprint == request.fingerprint and other.is_fresh:
        raise RunsElsewhere(f"{other}: this training does not begin", other.run_id)
    failure = Failure.read(request.failure_path) if request.attempt > 1 else None
    if failure and failure.permanent and failure.fingerprint == request.fingerprint:
        raise PermanentFailure(failure.reason)


def record_failure(request: Request, error: BaseException, log: Path) -> Failure:
    """Write `<stem>.failed.json`: what status and the end of the run tell of this cell."""
    failure = Failure(
        cell=request.cell.name,
        fingerprint=request.fingerprint,
        reason=_reason(error),
        permanent=isinstance(error, PermanentFailure),
        log=str(log),
        resume=request.study.resume_command(request.cell),
        attempt=request.attempt,
        at=time.time(),
        exit_code=error.exit_code if isinstance(error, ResomapError) else 1,
    )
    failure.write(request.failure_path)
    request.progress_path.unlink(missing_ok=True)
    return failure


def _reason(error: BaseException) -> str:
    if isinstance(error, ResomapError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = error.filename or Path().absolute()
        return f"the disk of {place} is full; make room, and the same command goes on from the last checkpoint"
    return f"{type(error).__name__}: {error}"
