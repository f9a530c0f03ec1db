"""Work around the steps of a cell's training: obeys signals, saves, shows progress, journals, gives way."""

import time
from typing import NoReturn

import numpy as np

from resomap.cells.out_of_fold import EpochRecords
from resomap.core.errors import Interrupted, RunsElsewhere
from resomap.train.checkpoint_saver import CheckpointSaver
from resomap.train.events import Observer
from resomap.train.live_progress import LiveProgress
from resomap.train.request import Request
from resomap.train.signals import SignalWatch
from resomap.train.state import TrainingState
from resomap.train.tracked_run import TrackedRun

LOOK_SECONDS = 1.0  # between two looks for another run of the cell


class CellObserver(Observer):
    """Observer of one attempt at one cell. Raises Interrupted at the step after a signal, once all is saved."""

    def __init__(
        self,
        request: Request,
        signals: SignalWatch,
        saver: CheckpointSaver,
        progress: LiveProgress,
        run: TrackedRun,
        records: EpochRecords | None = None,
    ) -> None:
        self._request, self._config = request, request.study.config
        self._signals, self._saver, self._progress, self._run = signals, saver, progress, run
        self._records = records
        self._looked_at = 0.0

    def needs_checked_state(self) -> bool:
        """True where `after_step` is going to save."""
        return self._signals.received is not None or self._saver.is_due()

    def after_step(self, state: TrainingState) -> None:
        """Stop after a signal; else save and show what is due."""
        if self._signals.received is not None:
            self._stop(state)
        if self._saver.is_due():
            self._saver.save(state)
        self._progress.show_when_due(state)
        self._look_elsewhere(state)

    def after_deviation(self, state: TrainingState) -> None:
        """Say why the result will not be exact."""
        self._request.say(f"{state.deviations[-1]}; the result will be marked as not exact")

    def during_validation(self, state: TrainingState) -> None:
        """Stop after a signal: validation changes nothing, so that a resumed training begins it again."""
        if self._signals.received is not None:
            self._stop(state)
        self._progress.show_when_due(state, "evaluating")
        self._look_elsewhere(state)

    def after_validation(self, state: TrainingState, log_probabilities: np.ndarray) -> None:
        """Keep what a fold's training says of its images: on the disk before any checkpoint counts the epoch."""
        if self._records is not None:
            self._records.write(state.epoch + 1, log_probabilities)

    def after_epoch(self, state: TrainingState) -> None:
        """Write the epoch's figures to journal, log and progress file; stop after a signal."""
        row, shown = state.history[-1], self._request.shown
        value = row[shown]
        rate = self._progress.end_epoch(state, value)
        self._run.journal.metrics(state.epoch, {**row, "images_per_second": rate})
        self._request.say(
            f"epoch {state.epoch}/{self._request.epochs}: train loss {row['train/loss']:.4f}, "
            f"{'' if shown == 'train/loss' else _of_validation(shown, value)}{rate:.0f} images/s"
        )
        self._progress.show(state)
        if self._signals.received is not None:
            self._stop(state)
        self._look_elsewhere(state)

    def after_training(self, state: TrainingState) -> None:
        """Save, because the evaluation that follows may take longer than a signal's grace."""
        self._saver.save(state)

    def during_evaluation(self) -> None:
        """Stop after a signal; all that counts is saved."""
        if self._signals.received is not None:
            self._leave("the last evaluation")

    def _stop(self, state: TrainingState) -> NoReturn:
        # A save that is under way comes to its end first; if that takes all the grace, it is the one that counts.
        if self._saver.wait(self._grace_left()):
            self._saver.save(state)
        self._leave(f"epoch {state.epoch + 1}, step {state.step}")

    def _leave(self, position: str) -> NoReturn:
        when = f"{self._signals.name} at {position}"
        if not self._saver.wait(self._grace_left()):
            raise Interrupted(f"{when}: no time was left to save, the checkpoint before stands")
        if self._saver.failed:
            raise Interrupted(f"{when}: it could not be saved, the checkpoint before stands")
        raise Interrupted(f"{when}: saved; the same command goes on from there")

    def _look_elsewhere(self, state: TrainingState) -> None:
        """Give way to another run of this cell; what is trained so far stays, in case it does not come to its end."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        if (other := self._run.elsewhere()) is None:
            return
        self._saver.save(state)
        self._saver.wait(self._config.checkpoints.grace_seconds)
        raise RunsElsewhere(f"{other}: this training gives way to it", other.run_id)

    def _grace_left(self) -> float:
        """Seconds until what is not saved is given up; they count from the signal, not from the step after it."""
        return max(0.0, self._config.checkpoints.grace_seconds - self._signals.seconds_ago())


def _of_validation(shown: str, value: float | None) -> str:
    return f"{shown.replace('/', ' ')} {'-' if value is None else format(value, '.4f')}, "
