"""Saves a training's state to its last.pt, in the background and as often as the configuration says."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from resomap.cells.cell import Cell
from resomap.compute.checkpoint import BackgroundSaver
from resomap.config.schema import Checkpoints
from resomap.train.state import TrainingState


class CheckpointSaver:
    """Writer of one cell's last.pt. `fixed` is its content beside the state, as it is when it is saved."""

    def __init__(self, cell: Cell, settings: Checkpoints, fixed: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self._background = BackgroundSaver(cell.checkpoints / "last.pt", say, settings.compress)
        self._fixed = fixed
        self._interval = 60 * settings.every_minutes  # seconds
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """True once `checkpoints.every_minutes` have passed since the last save began, or since the start."""
        return time.monotonic() - self._saved_at >= self._interval

    def save(self, state: TrainingState) -> None:
        """Copy the state and begin to write it; waits for a save that is under way.

        Raises PermanentFailure where the weights are not finite: nobody could go on from them.
        """
        state.require_finite()
        self._background.save(state.content(self._fixed))
        self._saved_at = time.monotonic()

    def wait(self, seconds: float | None = None) -> bool:
        """Return when nothing is being written, or after the given time; True where all is written."""
        return self._background.wait(seconds)

    @property
    def failed(self) -> bool:
        """True where the newest save could not be written."""
        return self._background.failed
