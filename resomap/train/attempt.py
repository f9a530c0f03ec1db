"""First part of an attempt at a cell, before torch is needed: lock, check of what is done, choice of a GPU.

Light, so that an attempt with nothing to do ends at once, and so that the GPU is chosen before torch is imported.
"""

import contextlib
from collections.abc import Callable
from typing import TypeAlias

from resomap.cells.leftovers import recover_finished, tidy_finished
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker
from resomap.core.errors import Interrupted
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import bind_gpu
from resomap.tracking.send_request import remove_abandoned
from resomap.train.request import Request, refuse_hopeless_retry
from resomap.train.signals import SignalWatch

BehindMarker: TypeAlias = Callable[[Callable[[], None]], None]
Run: TypeAlias = Callable[[Request, SignalWatch], None]


def _cell_training() -> Run:
    with paused_collection():
        from resomap.train.training import run_training

    return run_training


def train_cell(
    request: Request,
    behind_marker: BehindMarker = lambda _between: None,
    training: Callable[[], Run] = _cell_training,
    watch: SignalWatch | None = None,
) -> None:
    """Train a cell, or go on with it, until its done marker is written.

    `training` imports what trains, which takes seconds: it is called once there is something to train. `watch` is the
    caller's, where it listens to signals before and after as well.

    `behind_marker` runs once this process has written the marker, with the cell's lock held. It is given a function to
    call now and then, which raises Interrupted after a signal: that ends it, and the attempt has succeeded all the
    same.

    Raises Interrupted after a signal, RunsElsewhere where another place trains it, PermanentFailure where trying
    again is pointless, ResomapError for a mistake in settings or environment.
    """
    cell, config = request.cell, request.study.config
    listening = SignalWatch() if watch is None else contextlib.nullcontext(watch)
    with listening as signals, cell_lock(cell, request.say, stop_waiting=lambda: signals.received is not None):
        if marker := Marker.of_done(cell, request.fingerprint, request.study.content_digest):
            tidy_finished(cell, marker, config.checkpoints.keep)
            remove_abandoned()
            request.say(f"{cell.name} is done already")
            return
        if recover_finished(request.study, cell):
            remove_abandoned()
            request.say(f"{cell.name} is complete in {cell.checkpoints}; its marker is written again")
            return
        refuse_hopeless_retry(request)
        request.failure_path.unlink(missing_ok=True)
        if config.device != "cpu":
            # After the cell's lock: who waits for another training of this cell keeps no GPU from others.
            bind_gpu(request.say, stop_waiting=lambda: signals.received is not None)
        run = training()
        if signals.received is not None:
            raise Interrupted(f"{signals.name} before the first step: nothing was begun")
        run(request, signals)

        def between() -> None:
            if signals.received is not None:
                raise Interrupted(f"{signals.name} came after the training")

        with contextlib.suppress(Interrupted):
            between()
            behind_marker(between)
