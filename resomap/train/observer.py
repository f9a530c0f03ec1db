"""What happens around the steps of a training: signals, checkpoints, live progress, journal."""

import time
from collections.abc import Callable
from typing import Any

from resomap.config import Config
from resomap.errors import Interrupted
from resomap.progress import Progress
from resomap.tracking.journal import Journal
from resomap.train.checkpoint import BackgroundSaver
from resomap.train.signals import SignalWatch
from resomap.train.state import TrainingState

PROGRESS_SECONDS = 1.0


class CellObserver:
    """Watches one training of one cell. Raises Interrupted at the step after a signal, once all is saved."""

    def __init__(
        self,
        *,
        config: Config,
        progress: Progress,
        write_progress: Callable[[Progress], None],
        journal: Journal,
        saver: BackgroundSaver,
        fixed: dict[str, Any],
        signals: SignalWatch,
        steps_per_epoch: int,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._progress = progress
        self._write_progress = write_progress
        self._journal = journal
        self._saver = saver
        self._fixed = fixed
        self._signals = signals
        self._steps_per_epoch = steps_per_epoch
        self._say = say
        self._saved_at = time.monotonic()
        self._shown_at = 0.0
        self._epoch_began = (time.monotonic(), 0)

    def needs_checked_state(self) -> bool:
        """Whether `after_step` is going to save."""
        return self._signals.received is not None or self._is_save_due()

    def after_step(self, state: TrainingState) -> None:
        if self._signals.received is not None:
            self._stop(state)
        if self._is_save_due():
            self._saver.save(state.content(self._fixed))
            self._saved_at = time.monotonic()
        if time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
            self._show(state)

    def during_validation(self) -> None:
        # Validation is short and changes nothing: a signal waits for the next step, or for the end of the epoch.
        self._progress.state = "evaluating"

    def after_epoch(self, state: TrainingState) -> None:
        row = state.history[-1]
        self._progress.value = row[f"val/{self._config.report.metric}"]
        rate = self._images_per_second(state)
        self._epoch_began = (time.monotonic(), state.images_seen)
        self._journal.metrics(state.epoch, {**row, "images_per_second": rate})
        self._journal.tags({"resomap.heartbeat": str(round(time.time()))})
        value = self._progress.value
        self._say(
            f"epoch {state.epoch}/{self._progress.epochs}: train loss {row['train/loss']:.4f}, "
            f"val {self._config.report.metric} {'-' if value is None else format(value, '.4f')}, "
            f"{rate:.0f} images/s"
        )
        self._show(state)
        if self._signals.received is not None:
            self._stop(state)

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self._config.checkpoints.every_minutes

    def _stop(self, state: TrainingState) -> None:
        name = self._signals.received.name if self._signals.received else "signal"
        position = f"epoch {state.epoch + 1}, step {state.step}"
        self._saver.save(state.content(self._fixed))
        if self._saver.wait(self._config.checkpoints.grace_seconds):
            raise Interrupted(f"{name} at {position}: saved; the same command goes on from there")
        raise Interrupted(f"{name} at {position}: no time was left to save, the checkpoint before stands")

    def _images_per_second(self, state: TrainingState) -> float:
        began, seen = self._epoch_began
        return (state.images_seen - seen) / max(1e-6, time.monotonic() - began)

    def _show(self, state: TrainingState) -> None:
        progress, now = self._progress, time.monotonic()
        self._shown_at = now
        progress.state = "training"
        progress.epoch, progress.step = state.epoch, state.step
        done = state.epoch * self._steps_per_epoch + state.step
        left = progress.epochs * self._steps_per_epoch - done
        progress.images_per_second = self._images_per_second(state) if state.step else progress.images_per_second
        progress.eta_seconds = state.seconds / max(1, done) * left
        progress.heartbeat = time.time()
        self._write_progress(progress)
