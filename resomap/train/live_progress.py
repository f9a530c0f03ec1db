"""Keeps a cell's progress.json up to date while it trains: position, speed, time to go."""

import contextlib
import os
import time

from resomap.cells.progress import Progress
from resomap.compute.device import Device
from resomap.compute.memory import MemoryWatch
from resomap.machine.processes import process_start
from resomap.train.request import Request
from resomap.train.state import TrainingState

INTERVAL_SECONDS = 1.0


class LiveProgress:
    """Writer of one attempt's progress file, at most once a second; watches the memory at the same beat."""

    def __init__(self, request: Request, state: TrainingState, device: Device, steps_per_epoch: int) -> None:
        """Write the file for the first time. Raises OSError (disk full, no permission)."""
        self._path = request.progress_path
        self._memory = MemoryWatch(device.memory, request.say)
        self._shown_at = 0.0
        self._before_epoch = (0.0, 0)  # seconds of steps and images when it began
        split, _, metric = request.shown.partition("/")
        self._progress = Progress(
            cell=request.cell.name,
            state="starting",
            epoch=state.epoch,
            epochs=request.epochs,
            step=state.step,
            steps_per_epoch=steps_per_epoch,
            images_per_second=None,
            metric=metric,
            value=None,
            split=split,
            eta_seconds=None,
            pid=os.getpid(),
            process_start=process_start(os.getpid()),
            started_at=time.time(),
            heartbeat=time.time(),
            attempt=request.attempt,
            device=device.name,
        )
        self._progress.write(self._path)

    def show_when_due(self, state: TrainingState, doing: str = "training") -> None:
        """Write the file where the last time is a second ago."""
        if time.monotonic() - self._shown_at >= INTERVAL_SECONDS:
            self.show(state, doing)

    def show(self, state: TrainingState, doing: str = "training") -> None:
        """Write the file; a full disk leaves the one before."""
        progress, now = self._progress, time.monotonic()
        self._shown_at = now
        self._memory.look()
        progress.state = doing
        progress.epoch, progress.step = state.epoch, state.step
        done = state.epoch * progress.steps_per_epoch + state.step
        left = progress.epochs * progress.steps_per_epoch - done
        progress.images_per_second = self._images_per_second(state) if state.step else progress.images_per_second
        progress.eta_seconds = state.seconds / max(1, done) * left
        progress.heartbeat = time.time()
        with contextlib.suppress(OSError):  # the table shows an older state, the training goes on
            progress.write(self._path)

    def end_epoch(self, state: TrainingState, value: float | None) -> float:
        """Take note of the figure that is shown, at an epoch's end; returns the epoch's training images a second."""
        rate = self._images_per_second(state)
        self._before_epoch = (state.seconds, state.images_seen)
        self._progress.value = value
        return rate

    def _images_per_second(self, state: TrainingState) -> float:
        """Rate of the epoch's steps, without validation; in an attempt's first epoch, of all steps of all attempts."""
        seconds, seen = self._before_epoch
        return (state.images_seen - seen) / max(1e-6, state.seconds - seconds)
