"""What happens around the steps of a training: signals, checkpoints, live progress, journal."""

import contextlib
import time
from collections.abc import Callable
from typing import Any, NoReturn

from resomap.cells.progress import Progress
from resomap.compute.checkpoint import BackgroundSaver
from resomap.compute.memory import MemoryWatch
from resomap.config import Config
from resomap.core.errors import Interrupted, RunsElsewhere
from resomap.tracking.elsewhere import Elsewhere
from resomap.tracking.journal import Journal
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
        elsewhere: Callable[[], Elsewhere | None],
        steps_per_epoch: int,
        memory: MemoryWatch,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._progress = progress
        self._write_progress = write_progress
        self._journal = journal
        self._saver = saver
        self._fixed = fixed
        self._signals = signals
        self._elsewhere = elsewhere
        self._steps_per_epoch = steps_per_epoch
        self._memory = memory
        self._say = say
        self._saved_at = time.monotonic()
        self._shown_at = self._looked_at = 0.0
        self._before_epoch = (0.0, 0)  # seconds of steps and images when it began

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
        self._look_elsewhere(state)

    def during_validation(self, state: TrainingState) -> None:
        # All steps of the epoch are done and validation changes nothing: resumed, it starts again at the validation.
        if self._signals.received is not None:
            self._stop(state)
        if time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
            self._show(state, "evaluating")
        self._look_elsewhere(state)

    def after_epoch(self, state: TrainingState) -> None:
        row = state.history[-1]
        self._progress.value = row[f"val/{self._config.report.metric}"]
        rate = self._images_per_second(state)
        self._before_epoch = (state.seconds, state.images_seen)
        self._journal.metrics(state.epoch, {**row, "images_per_second": rate})
        value = self._progress.value
        self._say(
            f"epoch {state.epoch}/{self._progress.epochs}: train loss {row['train/loss']:.4f}, "
            f"val {self._config.report.metric} {'-' if value is None else format(value, '.4f')}, "
            f"{rate:.0f} images/s"
        )
        self._show(state)
        if self._signals.received is not None:
            self._stop(state)
        self._look_elsewhere(state)

    def after_deviation(self, state: TrainingState) -> None:
        self._say(f"{state.deviations[-1]}; the result will be marked as not exact")

    def at_end(self, state: TrainingState) -> None:
        """The last epoch is over: keep it, because evaluation may take longer than a signal's grace."""
        self._saver.save(state.content(self._fixed))

    def wait_for_save(self) -> None:
        """Return when nothing is being written any more."""
        self._saver.wait()

    def during_evaluation(self) -> None:
        """Between batches of the last evaluation."""
        if self._signals.received is not None:
            self._leave("the last evaluation")

    def _is_save_due(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self._config.checkpoints.every_minutes

    def _stop(self, state: TrainingState) -> None:
        # A save that is under way comes to its end first; if that takes all the grace, it is the one that counts.
        if self._saver.wait(self._grace_left()):
            self._saver.save(state.content(self._fixed))
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
        if time.monotonic() - self._looked_at < PROGRESS_SECONDS:
            return
        self._looked_at = time.monotonic()
        if (other := self._elsewhere()) is None:
            return
        self._saver.save(state.content(self._fixed))
        self._saver.wait(self._config.checkpoints.grace_seconds)
        raise RunsElsewhere(f"{other}: this training gives way to it", other.run_id)

    def _grace_left(self) -> float:
        """Seconds until what is not saved is given up; they count from the signal, not from the step after it."""
        return max(0.0, self._config.checkpoints.grace_seconds - self._signals.seconds_ago())

    def _images_per_second(self, state: TrainingState) -> float:
        """Of the epoch's steps, without validation; in an attempt's first epoch, of all steps of all attempts."""
        seconds, seen = self._before_epoch
        return (state.images_seen - seen) / max(1e-6, state.seconds - seconds)

    def _show(self, state: TrainingState, doing: str = "training") -> None:
        progress, now = self._progress, time.monotonic()
        self._shown_at = now
        self._memory.look()
        progress.state = doing
        progress.epoch, progress.step = state.epoch, state.step
        done = state.epoch * self._steps_per_epoch + state.step
        left = progress.epochs * self._steps_per_epoch - done
        progress.images_per_second = self._images_per_second(state) if state.step else progress.images_per_second
        progress.eta_seconds = state.seconds / max(1, done) * left
        progress.heartbeat = time.time()
        with contextlib.suppress(OSError):  # a full disk: the table shows an older state, the training goes on
            self._write_progress(progress)
