"""Trains one cell from whatever stands on disk to its done marker; `_Training.run` is the order of things."""

import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

import torch
from timm.utils import ModelEmaV3

from resomap.cells import archive, microbatch_choice
from resomap.cells.marker import write_marker
from resomap.cells.progress import Progress
from resomap.compute import checkpoint
from resomap.compute.device import choose_device, keep_freed_memory, precision, prepare_backend
from resomap.compute.environment import deviations, environment
from resomap.compute.inference import Predictor
from resomap.compute.memory import MemoryWatch
from resomap.compute.normalisation import Normalisation
from resomap.core.errors import RunsElsewhere
from resomap.core.files import read_json, strict_json
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
from resomap.models.build import BuiltModel, build_model
from resomap.tracking.completed import MARKER_TAG
from resomap.train import outcome
from resomap.train.batches import TrainingBatches
from resomap.train.loop import Loop
from resomap.train.objective import Objective, make_optimizer
from resomap.train.observer import CellObserver
from resomap.train.request import Request
from resomap.train.signals import SignalWatch
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar
from resomap.train.tracked_run import Run, host, take_over


def run_training(request: Request, signals: SignalWatch) -> None:
    """Train, or go on with, a cell until its done marker is written. The caller holds the cell's lock.

    Raises Interrupted after a signal, RunsElsewhere where another place trains it, PermanentFailure where trying
    again is pointless, ResomapError for a mistake in settings or environment.
    """
    try:
        _Training(request, signals).run()
    except RunsElsewhere as error:
        if not take_over(request, error):
            raise


class _Training:
    """One attempt at one cell: puts the parts together."""

    def __init__(self, request: Request, signals: SignalWatch) -> None:
        self._request, self._signals = request, signals
        self._cell, self._recipe, self._config = request.cell, request.recipe, request.study.config
        self._device = choose_device(self._config.device)
        if not self._device.is_cuda and self._config.device == "auto":
            request.say(f"no GPU is visible: training on the CPU ({self._device.name})")
        self._store = Store.open(DATA_DIRECTORY, self._cell.resolution)

    def run(self) -> None:
        """From disk to marker."""
        uid = self._claim_directory()
        saved = checkpoint.load_last(self._cell.checkpoints, lambda content: self._is_ours(content, uid), self._say)
        # What changes sums comes from the checkpoint, not from the machine: threads, precision, microbatch.
        threads = saved["threads"] if saved else self._request.threads
        amp = _dtype(saved["precision"]) if saved else precision(self._recipe.amp, self._device)
        prepare_backend(self._device, self._config.deterministic, threads)
        if not self._device.is_cuda:
            keep_freed_memory()

        built = self._build()
        state = self._fresh_state(built, amp)
        if saved:
            self._restore(state, saved)
        else:
            state.microbatch = microbatch_choice.require(self._request.study, self._cell)
        del saved  # its tensors are views of last.pt
        fixed = self._fixed(uid, threads, amp)
        normalisation = Normalisation(tuple(built.mean or self._store.mean), tuple(built.std or self._store.std))
        run = Run(self._request, uid, self._device, self._store.content_digest)
        try:
            observer = self._train(state, normalisation, amp, fixed, run)
            marker = self._outcome(state, normalisation, amp, fixed, run, observer)
        except BaseException as error:
            run.close_after(error, is_signalled=self._signals.received is not None)
            raise
        self._complete(marker, run)

    @property
    def _say(self) -> Any:
        return self._request.say

    def _claim_directory(self) -> str:
        """Make the checkpoint directory this training's own; its uid, kept over all attempts."""
        identity = {
            "fingerprint": self._request.fingerprint,
            "uid": uuid.uuid4().hex,
            "cell": self._cell.name,
        }
        for note in archive.claim(self._cell, identity):
            self._say(note)
        checkpoint.remove_leftovers(self._cell.checkpoints)
        return str(read_json(archive.identity_path(self._cell))["uid"])

    def _is_ours(self, content: Mapping[str, Any], uid: str) -> bool:
        return content["fingerprint"] == self._request.fingerprint and content["uid"] == uid

    def _build(self) -> BuiltModel:
        torch.manual_seed(self._cell.seed)
        built = build_model(
            self._cell.model,
            self._cell.resolution,
            len(self._store.classes),
            weights=self._recipe.weights,
            dropout=self._recipe.dropout,
        )
        for note in built.notes:
            self._say(note)
        return built

    def _fresh_state(self, built: BuiltModel, amp: torch.dtype | None) -> TrainingState:
        recipe, place = self._recipe, self._device.torch
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model = built.model.to(place, memory_format=layout)  # type: ignore[call-overload]
        return TrainingState(
            model=model,
            optimizer=make_optimizer(model, recipe),
            scaler=torch.amp.GradScaler(place.type, enabled=amp is torch.float16),
            ema=ModelEmaV3(model, decay=recipe.ema_decay) if recipe.ema_decay is not None else None,
            best=BestSoFar(recipe.monitor),
            sums=RunningSums.zero(place),
        )

    def _restore(self, state: TrainingState, saved: Mapping[str, Any]) -> None:
        state.restore(saved, self._device.torch)
        new = deviations(saved["environment"], environment(self._device), self._device, self._config.deterministic)
        state.deviations += [reason for reason in new if reason not in state.deviations]
        for reason in new:
            self._say(f"{reason}: the result will be marked as not exact")
        self._say(f"going on at epoch {state.epoch + 1}, step {state.step}")

    def _fixed(self, uid: str, threads: int, amp: torch.dtype | None) -> dict[str, Any]:
        """The part of a checkpoint that does not change while the training goes on."""
        return {
            "fingerprint": self._request.fingerprint,
            "uid": uid,
            "cell": self._cell.name,
            "threads": threads,
            "precision": str(amp).removeprefix("torch.") if amp else None,
            "environment": environment(self._device),
        }

    def _train(
        self,
        state: TrainingState,
        normalisation: Normalisation,
        amp: torch.dtype | None,
        fixed: dict[str, Any],
        run: Run,
    ) -> CellObserver:
        train, classes = self._store.split("train"), len(self._store.classes)
        batches = TrainingBatches(train, self._recipe, self._cell.seed, pinned=self._device.is_cuda)
        progress = self._progress(state, batches.steps)
        saver = checkpoint.BackgroundSaver(
            self._cell.checkpoints / "last.pt", self._say, self._config.checkpoints.compress
        )
        observer = CellObserver(
            config=self._config,
            progress=progress,
            write_progress=lambda shown: shown.write(self._request.progress_path),
            journal=run.journal,
            saver=saver,
            fixed=fixed,
            signals=self._signals,
            elsewhere=run.elsewhere,
            steps_per_epoch=batches.steps,
            memory=MemoryWatch(self._device.memory, self._say),
            say=self._say,
        )
        Loop(
            state=state,
            recipe=self._recipe,
            seed=self._cell.seed,
            classes=classes,
            batches=batches,
            validation=self._store.split("val"),
            normalisation=normalisation,
            objective=Objective(self._recipe, train.labels, classes, self._device.torch),
            device=self._device,
            precision=amp,
            observer=observer,
        ).run()
        observer.at_end(state)
        return observer

    def _progress(self, state: TrainingState, steps_per_epoch: int) -> Progress:
        progress = Progress(
            cell=self._cell.name,
            state="starting",
            epoch=state.epoch,
            epochs=self._recipe.epochs,
            step=state.step,
            steps_per_epoch=steps_per_epoch,
            images_per_second=None,
            metric=self._config.report.metric,
            value=None,
            eta_seconds=None,
            host=host(),
            pid=os.getpid(),
            started_at=time.time(),
            heartbeat=time.time(),
            attempt=self._request.attempt,
            device=self._device.name,
        )
        progress.write(self._request.progress_path)
        return progress

    def _outcome(
        self,
        state: TrainingState,
        normalisation: Normalisation,
        amp: torch.dtype | None,
        fixed: dict[str, Any],
        run: Run,
        observer: CellObserver,
    ) -> dict[str, Any]:
        """Write weights, history and predictions; the marker's content."""
        request, store, cell = self._request, self._store, self._cell
        model = state.evaluated_model()
        outcome.write_weights(request, "final.pt", model.state_dict(), state.epoch, store, normalisation)
        outcome.write_weights(request, "best.pt", state.best_weights, state.best.epoch or 0, store, normalisation)
        outcome.write_history(cell, state.history)
        predictor = Predictor(model, normalisation, self._device.torch, amp, self._recipe.channels_last)
        metrics = outcome.evaluate_best(request, state, store, predictor, observer.during_evaluation)
        observer.wait_for_save()
        tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
        run.journal.metrics(state.epoch, tested)
        run.keep(outcome.history_path(cell), outcome.predictions_path(cell), cell.checkpoints / "best.pt")
        return outcome.marker_content(request, state, store, self._device, fixed, metrics)

    def _complete(self, marker: dict[str, Any], run: Run) -> None:
        """The marker's twin first: from then on the cell is complete, and a kill costs no training."""
        twin, marker_path = archive.twin_path(self._cell), self._cell.marker
        write_marker(twin, marker)
        outcome.drop_unwanted(self._cell, self._config.checkpoints.keep)
        # The complete tag last: a run that carries it has everything else.
        run.close("FINISHED", {MARKER_TAG: strict_json(marker, indent=None), "resomap.complete": "1"})
        marker["run_id"] = run.wait_for_id()
        write_marker(twin, marker)
        write_marker(marker_path, marker)
        self._request.progress_path.unlink(missing_ok=True)
        accuracy = marker["metrics"]["test/accuracy"]
        self._say(
            f"done after {marker['epochs']} epochs (best {marker['best_epoch']}): test accuracy {accuracy:.4f}, "
            f"{marker['cost']['train_seconds']:.0f} s of training"
        )


def _dtype(name: str | None) -> torch.dtype | None:
    return getattr(torch, name) if name else None
