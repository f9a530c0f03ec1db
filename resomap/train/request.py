"""Request for one attempt at one cell, and the note that is left where it fails."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.progress import Failure, failure_path, progress_path
from resomap.cells.study import Study
from resomap.config import Training
from resomap.core.errors import PermanentFailure, ResomapError, RunsElsewhere, refusal
from resomap.tracking.elsewhere import Elsewhere, note_path


@dataclass(frozen=True)
class Request:
    """Cell to train, and the share of the machine that this attempt may use."""

    study: Study
    cell: Cell
    threads: int
    attempt: int
    say: Callable[[str], None]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that decides the cell's result."""
        return self.study.fingerprint(self.cell)

    @cached_property
    def recipe(self) -> Training:
        """Training settings of the cell, after overrides."""
        return self.study.recipe(self.cell)

    @property
    def epochs(self) -> int:
        """Epochs after which the training ends at the latest."""
        return self.recipe.epochs

    @property
    def shown(self) -> str:
        """Name of the figure by which people follow the training, as its history has it."""
        return f"val/{self.study.config.report.metric}"

    @property
    def failure_path(self) -> Path:
        """Path of the note that a failed attempt leaves."""
        return failure_path(self.cell)

    @property
    def progress_path(self) -> Path:
        """Path of the file that shows a running attempt's progress."""
        return progress_path(self.cell)


def refuse_hopeless_retry(request: Request) -> None:
    """End a retry at once where the failure before it is permanent: Snakemake's `retries` repeats every failure.

    Raises PermanentFailure with the reason of the attempt before, or RunsElsewhere where that one gave way.
    """
    other = Elsewhere.read(note_path(request.cell)) if request.attempt > 1 else None
    if other and other.fingerprint == request.fingerprint and other.is_fresh:
        raise RunsElsewhere(f"{other}: this training does not begin", other.run_id)
    failure = Failure.read(request.failure_path) if request.attempt > 1 else None
    if failure and failure.permanent and failure.fingerprint == request.fingerprint:
        raise PermanentFailure(failure.reason)


def record_failure(request: Request, error: BaseException, log: Path) -> Failure:
    """Write `<stem>.failed.json`, from which the status table and the end of a sweep tell the reason."""
    failure = Failure(
        cell=request.cell.name,
        fingerprint=request.fingerprint,
        reason=_reason(error),
        permanent=isinstance(error, PermanentFailure),
        log=str(log),
        resume=request.study.call.as_typed(str(request.cell.marker)),
        attempt=request.attempt,
        at=time.time(),
        exit_code=error.exit_code if isinstance(error, ResomapError) else 1,
    )
    with contextlib.suppress(OSError):
        request.progress_path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a full disk: the failure is told, though not kept
        failure.write(request.failure_path)
    return failure


def _reason(error: BaseException) -> str:
    if isinstance(error, ResomapError):
        return str(error)
    if isinstance(error, OSError) and (sentence := refusal(error)) is not None:
        return sentence
    return f"{type(error).__name__}: {error}"
