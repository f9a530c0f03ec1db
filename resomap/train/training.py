"""Training of one cell from whatever stands on disk to its done marker; `CellTraining.run` is the order of things."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from resomap.cells import archive, learning_rate_choice, microbatch_choice
from resomap.cells.decision import Decision
from resomap.cells.evaluation_record import predictions_path
from resomap.cells.leftovers import prune_checkpoints, remove_cell_leftovers
from resomap.cells.marker import Marker
from resomap.cells.out_of_fold import EpochRecords, out_of_fold_path
from resomap.cells.predictions import EVALUATED, Predictions
from resomap.cells.tags import completion
from resomap.compute import checkpoint
from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.environment import deviations, environment
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor, evaluation_batch
from resomap.compute.normalisation import Normalisation
from resomap.compute.temperature import decide
from resomap.core.errors import Interrupted, RunsElsewhere
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Images, Store
from resomap.models.build import BuiltModel
from resomap.models.weights_store import Origin
from resomap.train import outcome
from resomap.train.batches import TrainingBatches
from resomap.train.checkpoint_saver import CheckpointSaver
from resomap.train.graph_search import choose_graphs
from resomap.train.known_features import probe_of
from resomap.train.live_progress import LiveProgress
from resomap.train.loop import Loop, TrainingData
from resomap.train.objective import Objective, make_scaler
from resomap.train.observer import CellObserver
from resomap.train.probing import ProbeData
from resomap.train.request import Request
from resomap.train.self_check import SelfCheck
from resomap.train.signals import SignalWatch
from resomap.train.starting import crop_store, initial_state, note_sharing, starting_network, training_data
from resomap.train.state import TrainingState
from resomap.train.tracked_run import TrackedRun, take_over


def run_training(request: Request, signals: SignalWatch, kind: "type[CellTraining] | None" = None) -> None:
    """Train a cell, or go on with it, until its done marker is written. The caller holds the cell's lock.

    `kind` is the training's class; None: that of a cell.

    Raises Interrupted after a signal, RunsElsewhere where another place trains it, PermanentFailure where trying
    again is pointless, ResomapError for a mistake in settings or environment.
    """
    try:
        (kind or CellTraining)(request, signals).run()
    except RunsElsewhere as error:
        if not take_over(request, error):
            raise


class CellTraining:
    """One attempt at one cell, put together from its parts. A refit (`refit.py`) does some of them in another way."""

    splits: Sequence[str] = EVALUATED  # that its weights are evaluated on

    def __init__(self, request: Request, signals: SignalWatch) -> None:
        self._request, self._signals, self._say = request, signals, request.say
        self._cell, self._recipe, self._config = request.cell, request.recipe, request.study.config
        self._device = choose_device(self._config.device)
        if not self._device.is_cuda and self._config.device == "auto":
            request.say(f"no GPU is visible: training on the CPU ({self._device.name})")
        self._store = Store.open(DATA_DIRECTORY, self._cell.resolution, fold=self._cell.fold)

    def run(self) -> None:
        """Claim, load, build, restore, train, evaluate, mark as done."""
        uid = self._claim_directory()
        saved = checkpoint.load_last(self._cell.checkpoints, lambda content: self._is_ours(content, uid), self._say)
        # What changes sums comes from the checkpoint, not from the machine: threads, precision, microbatch.
        threads = saved["threads"] if saved else self._request.threads
        execution = self._execution(saved)
        rate_search = saved.get("learning_rate_search") if saved else self._rate_search()
        if rate_search is not None:
            self._recipe = self._recipe.with_rate(rate_search["rate"])
        prepare_backend(self._device, self._config.deterministic, threads)
        if not self._device.is_cuda:
            keep_freed_memory()

        built = self._build_model()
        state = self._initial_state(built, execution)
        if saved:
            self._restore(state, saved)
        else:
            state.microbatch = microbatch_choice.require(self._request.study, self._cell)
        note_sharing(state, self._say)
        saved_features = saved.get("features") if saved else None
        del saved  # its tensors are views of last.pt

        rate = self._recipe.highest_rate
        run = TrackedRun(self._request, uid, self._device, self._store.content_digest, rate)
        try:
            images = self._training_data(built)
            data = self._with_features(state, images, execution, saved_features)
            checked = self._checked(state, data, execution)
            if checked != execution:  # features of the way that gives the same bits twice
                data, execution = self._with_features(state, images, checked, saved_features), checked
            fixed = self._fixed_content(uid, threads, execution, built.origin)
            fixed |= {"learning_rate": rate, "learning_rate_search": rate_search}
            if isinstance(data, ProbeData):
                fixed["features"] = data.digest
            saver = CheckpointSaver(self._cell, self._config.checkpoints, fixed, self._say)
            progress = LiveProgress(self._request, state, self._device, data.batches.steps)
            records = self._records(data)
            observer = CellObserver(self._request, self._signals, saver, progress, run, records)

            def check_again(way: Execution) -> Execution:
                """Check the halved microbatch; what is computed in is that of all later checkpoints."""
                found = self._checked(state, data, way, is_halved=True)
                fixed.update(found.saved())
                return found

            loop = self._loop(state, data, execution, observer)
            loop.run(check_again)
            metrics = self._evaluate_best(state, data.normalisation, loop.execution, observer)
            if records is not None:
                outcome.write_out_of_fold(self._request, state, self._store, records)
            saver.wait()
            self._add_results(run, state.epoch, metrics)
            marker = self._marker(state, fixed, metrics)
        except BaseException as error:
            run.close_after(error, is_signalled=self._signals.received is not None)
            raise
        progress.show(state, "sending")
        self._mark_done(marker, run)

    @cached_property
    def _environment(self) -> dict[str, str]:
        return environment(self._device, self._recipe.compile)

    def _claim_directory(self) -> str:
        """Make the checkpoint directory this training's own; returns its uid, the same over all attempts."""
        identity = {
            "fingerprint": self._request.fingerprint,
            "uid": uuid.uuid4().hex,
            "cell": self._cell.name,
            "content_digest": self._store.content_digest,
        }
        for note in archive.activate(self._cell, identity):
            self._say(note)
        remove_cell_leftovers(self._cell)
        return archive.held_uid(self._cell)

    def _is_ours(self, content: Mapping[str, Any], uid: str) -> bool:
        of_images = content.get("content_digest")  # which checkpoints of earlier versions do not name
        is_of_images = of_images in (None, self._store.content_digest)
        return content["fingerprint"] == self._request.fingerprint and content["uid"] == uid and is_of_images

    def _rate_search(self) -> dict[str, Any] | None:
        """Search that found the model's learning rate; None where the configuration gives it."""
        found = learning_rate_choice.require(self._request.study, self._cell)
        if found is None:
            return None
        self._say(f"learning rate {found.rate:g}, found in {learning_rate_choice.path_of(self._cell.model)}")
        return found.as_json()

    def _execution(self, saved: Mapping[str, Any] | None) -> Execution:
        """Device, precision and memory layout; a checkpoint's precision counts in place of the machine's."""
        if saved is None:
            return Execution.of(self._device, self._recipe.amp, self._recipe.channels_last)
        return Execution.of_saved(saved, self._device, self._recipe.channels_last)

    def _build_model(self) -> BuiltModel:
        built = starting_network(self._config, self._recipe, self._cell, len(self._store.classes), self._cell.seed)
        if built.origin is not None:
            self._say(f"starting weights: {built.origin.place} ({built.origin.digest or 'digest unknown'})")
        for note in built.notes:
            self._say(note)
        return built

    def _initial_state(self, built: BuiltModel, execution: Execution) -> TrainingState:
        return initial_state(built, self._recipe, execution)

    def _restore(self, state: TrainingState, saved: Mapping[str, Any]) -> None:
        state.restore(saved, self._device.torch, self._request.study.title(self._cell))
        new = deviations(saved["environment"], self._environment, self._device, self._config.deterministic)
        state.deviations += [reason for reason in new if reason not in state.deviations]
        for reason in new:
            self._say(f"{reason}: the result will be marked as not exact")
        self._say(f"going on at epoch {state.epoch + 1}, step {state.step}")

    def _fixed_content(self, uid: str, threads: int, execution: Execution, origin: Origin | None) -> dict[str, Any]:
        """Part of a checkpoint that does not change while the training goes on."""
        return {
            "fingerprint": self._request.fingerprint,
            "uid": uid,
            "cell": self._cell.name,
            "content_digest": self._store.content_digest,
            "threads": threads,
            **execution.saved(),
            "environment": self._environment,
            "weights": origin.as_json() if origin is not None else None,
        }

    def _training_data(self, built: BuiltModel) -> TrainingData:
        """Prepared images of the cell."""
        store = self._store
        images, is_cuda = self._learned_from(crop_store(store, self._recipe)), self._device.is_cuda
        batches = TrainingBatches(images, self._recipe, self._cell.seed, pinned=is_cuda, size=store.resolution)
        return training_data(self._config, self._recipe, store, built, batches, store.split("val"))

    def _learned_from(self, store: Store) -> Images:
        """Images of a store that the training learns from."""
        return store.split("train")

    def _with_features(
        self, state: TrainingState, data: TrainingData, execution: Execution, saved_digest: str | None
    ) -> TrainingData:
        """Return the data with the features of a frozen network, where only its head learns and steps are left."""
        if self._recipe.trainable != "head" or state.is_over(self._recipe):
            return data
        execution.activate()
        batch = evaluation_batch(self._recipe, state.microbatch)
        stop = self._stop_before_first_step
        probe = probe_of(self._cell, data, state.model, execution, batch, stop, self._say)
        if saved_digest is not None and saved_digest != probe.digest:
            state.deviations.append("the features of the frozen network are not those of the checkpoint to the bit")
        return probe

    def _records(self, data: TrainingData) -> EpochRecords | None:
        """Return the records of what a fold's training says of its own images; None without folds."""
        if self._cell.fold is None or data.validation is None:
            return None
        return EpochRecords(self._cell, data.validation.labels, data.classes, self._recipe.epochs)

    def _checked(
        self, state: TrainingState, data: TrainingData, execution: Execution, is_halved: bool = False
    ) -> Execution:
        """Return the way of computing that gives the same bits twice, where steps are left; says what it is.

        `is_halved`: within an epoch, after the microbatch was halved. A signal then waits for the end of the step.
        """
        execution.activate()
        if state.is_over(self._recipe):
            return execution
        check = SelfCheck(
            state=state,
            recipe=self._recipe,
            data=data,
            objective=self._objective(data),
            is_deterministic=self._config.deterministic,
            between=(lambda: None) if is_halved else self._stop_before_first_step,
        )
        found = check.run(execution)
        if found.fallback is not None:
            self._say(found.fallback)
            state.fallback = found.fallback
            state.scaler = make_scaler(found.execution)
            if is_halved:
                state.deviations.append(f"after the microbatch was halved: {found.fallback}")
            elif state.images_seen:
                state.deviations.append(f"resumed otherwise: {found.fallback}")
        if found.deviation is not None and found.deviation not in state.deviations:
            self._say(f"{found.deviation}; the result will be marked as not exact")
            state.deviations.append(found.deviation)
        if not (is_halved or state.images_seen):  # a training keeps what it began with, until memory is short
            choose_graphs(self._request.study, self._cell, check, found.execution, self._say)
        return found.execution

    def _stop_before_first_step(self) -> None:
        if self._signals.received is not None:
            raise Interrupted(f"{self._signals.name} before the first step: the same command begins there")

    def _objective(self, data: TrainingData) -> Objective:
        return Objective(self._recipe, data.batches.labels, data.classes, self._device.torch)

    def _loop(self, state: TrainingState, data: TrainingData, execution: Execution, observer: CellObserver) -> Loop:
        return Loop(
            state=state,
            recipe=self._recipe,
            seed=self._cell.seed,
            data=data,
            objective=self._objective(data),
            execution=execution,
            observer=observer,
        )

    def _evaluate_best(
        self, state: TrainingState, normalisation: Normalisation, execution: Execution, observer: CellObserver
    ) -> outcome.Metrics:
        """Write weights, history and the predictions of the best epoch; returns their metrics by `split/name`."""
        model = state.evaluated_model()
        # Weights that had to be trained in float32 are evaluated in float32 too.
        self._write_weights(state, normalisation, self._recipe.amp if state.fallback is None else "off")
        outcome.write_history(self._cell, state.history)
        predictor = Predictor(Inference(model, execution), normalisation)
        predictions = outcome.predict_best(
            self._request, state, self._store, predictor, observer.during_evaluation, self.splits
        )
        self._decision(predictions).write(self._cell.checkpoints / "best.pt")
        return outcome.metrics_of(predictions)

    def _write_weights(self, state: TrainingState, normalisation: Normalisation, amp: str) -> None:
        final = state.evaluated_model().state_dict()
        for name, weights, epoch in (
            ("final.pt", final, state.epoch),
            ("best.pt", state.best_weights, state.best.epoch or 0),
        ):
            outcome.write_weights(self._request, name, weights, epoch, self._store, normalisation, amp)

    def _decision(self, predictions: Predictions) -> Decision:
        return decide(predictions)

    def _marker(self, state: TrainingState, fixed: Mapping[str, Any], metrics: outcome.Metrics) -> Marker:
        return outcome.finished_marker(self._request, state, self._store, self._device, fixed, metrics)

    def _add_results(self, run: TrackedRun, epoch: int, metrics: outcome.Metrics) -> None:
        """Add the test metrics and the files of the result to the run."""
        tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
        run.journal.metrics(epoch, tested)
        cell = self._cell
        out_of_fold = None if cell.fold is None else out_of_fold_path(cell)
        run.keep(cell.history, predictions_path(cell), cell.checkpoints / "best.pt", out_of_fold)

    def _mark_done(self, marker: Marker, run: TrackedRun) -> None:
        """Write the marker's copy first: from then on the cell is complete, and a kill costs no training."""
        copy, marker_path = archive.marker_copy_path(self._cell), self._cell.marker
        marker.write(copy)
        prune_checkpoints(self._cell, self._config.checkpoints.keep)
        # The complete tag last: a run that carries it has everything else.
        run.close("FINISHED", completion(marker))
        marker = replace(marker, run_id=run.wait_for_id())
        marker.write(copy)
        marker.write(marker_path)
        self._request.progress_path.unlink(missing_ok=True)
        accuracy = marker.metrics["test/accuracy"]
        self._say(
            f"done after {marker.epochs} epochs (best {marker.best_epoch}): test accuracy {accuracy:.4f}, "
            f"{marker.cost.train_seconds:.0f} s of training"
        )
