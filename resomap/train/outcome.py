"""Results of a finished training: weights, predictions, history, and the content of its marker."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from resomap.cells import archive, evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import LOCAL, SCHEMA, Marker, TrainingCost
from resomap.cells.names import FIRST_FOLD
from resomap.cells.out_of_fold import EpochRecords, OutOfFold, out_of_fold_path
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.compute import checkpoint
from resomap.compute.device import Device
from resomap.compute.inference import Predictor, evaluation_batch, predict, require_finite
from resomap.compute.metrics import measure
from resomap.compute.normalisation import Normalisation
from resomap.core.files import write_csv
from resomap.data.bands import Bands
from resomap.data.store import Store
from resomap.models.build import builder_options
from resomap.models.layer_versions import load_tensors
from resomap.models.operations import parameter_count, try_count
from resomap.train.request import Request
from resomap.train.state import TrainingState

Metrics = dict[str, float | None]


def write_weights(
    request: Request,
    name: str,
    weights: Mapping[str, Any],
    epoch: int,
    store: Store,
    normalisation: Normalisation,
    amp: str,
) -> None:
    """Write best.pt or final.pt: weights and what it takes to use them, in one sealed file.

    `options` are the keywords of the library's builder, so that the file can be used without ResoMap.
    """
    cell = request.cell
    entry, bands = request.study.index.entry(cell.model), Bands.of(request.study.config.data)
    content = {
        "format": checkpoint.FORMAT,
        "model": checkpoint.on_cpu(weights),
        "name": cell.model,
        "library": entry.library,
        "options": builder_options(entry, cell.resolution, len(store.classes), normalisation.channels),
        "resolution": cell.resolution,
        "classes": list(store.classes),
        "channels": store.channels,
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
        "fit": request.study.config.data.fit,
        "white_level": store.white_level,
        **({"bands": bands.as_json()} if bands else {}),
        "amp": amp,
        "channels_last": request.recipe.channels_last,
        "epoch": epoch,
        "fingerprint": request.fingerprint,
        "uid": archive.held_uid(cell),
    }
    compress = request.study.config.checkpoints.compress
    checkpoint.save_sealed(cell.checkpoints / name, content, compress=compress)


def predict_best(
    request: Request,
    state: TrainingState,
    store: Store,
    predictor: Predictor,
    between: Callable[[], None],
    splits: Sequence[str],
) -> Predictions:
    """Predict the images of these splits with the best weights; keep the predictions and return them.

    `between` runs after each batch and may end the evaluation by raising.
    """
    load_tensors(predictor.inference.model, state.best_weights)
    parts: dict[str, SplitPredictions] = {}
    for split in splits:
        images = store.split(split)
        found = predict(predictor, images, evaluation_batch(request.recipe, state.microbatch), between)
        require_finite(found, f"{split} images with the weights of the best epoch")
        parts[split] = SplitPredictions(images.names, images.labels, found, store.blocks(split))
    predictions = Predictions(request.fingerprint, archive.held_uid(request.cell), store.classes, parts)
    predictions.save(evaluation_record.predictions_path(request.cell))
    return predictions


def metrics_of(predictions: Predictions) -> Metrics:
    """Return the metrics of predictions by `split/name`."""
    return {
        f"{split}/{name}": value
        for split, part in predictions.splits.items()
        for name, value in measure(part.log_probabilities, np.asarray(part.labels)).items()
    }


def write_out_of_fold(request: Request, state: TrainingState, store: Store, records: EpochRecords) -> None:
    """Write what the training said of its own fold's images after each epoch, beside the marker."""
    images, monitor = store.split("val"), request.recipe.monitor
    epochs, arrays = records.read(state.epoch)
    if len(epochs) < state.epoch:
        request.say(f"of {state.epoch} epochs {len(epochs)} have out-of-fold predictions: records were lost")
    values = [state.history[epoch - 1][f"val/{monitor}"] for epoch in epochs]
    OutOfFold(
        fingerprint=request.fingerprint,
        uid=archive.held_uid(request.cell),
        fold=request.cell.fold or FIRST_FOLD,
        classes=store.classes,
        names=images.names,
        labels=images.labels,
        groups=store.blocks("val"),
        epochs=epochs,
        monitor=monitor,
        monitored=np.array([np.nan if value is None else value for value in values]),
        **arrays,
    ).save(out_of_fold_path(request.cell))


def write_history(cell: Cell, rows: list[dict[str, Any]]) -> None:
    """Write history.csv, a line an epoch; it has no times, so that a resumed training writes the same bytes."""
    write_csv(cell.history, rows)


def finished_marker(
    request: Request,
    state: TrainingState,
    store: Store,
    device: Device,
    fixed: Mapping[str, Any],
    metrics: Metrics,
) -> Marker:
    """The done marker of a training that ended here; `run_id` comes later, if at all."""
    cell = request.cell
    operations = try_count(state.model, cell.resolution, request.study.config.data.input_channels)
    reasons = {"flops": operations} if isinstance(operations, str) else {}
    for name, reason in reasons.items():
        request.say(f"the training's {name} stay unknown: {reason}")
    return Marker(
        schema=SCHEMA,
        model=cell.model,
        resolution=cell.resolution,
        seed=cell.seed,
        fold=cell.fold,
        fingerprint=request.fingerprint,
        base=request.study.base,
        uid=fixed["uid"],
        run_id=None,
        origin=LOCAL,
        finished_at=time.time(),
        epochs=state.epoch,
        best_epoch=state.best.epoch,
        metrics=metrics,
        cost=TrainingCost(
            params=parameter_count(state.model),
            flops=None if isinstance(operations, str) else operations.flops,
            train_seconds=state.seconds,
            images_per_second=state.images_seen / max(1e-9, state.seconds),
            peak_training_memory_bytes=device.peak_memory_bytes(),
            device=device.name,
            reasons=reasons,
        ),
        weights_in_tracker=request.study.config.tracking.keep_weights,
        microbatch=state.microbatch or request.recipe.batch_size,
        precision=fixed["precision"] or "float32",
        fallback=state.fallback,
        graphs=state.graphs,
        exact=not state.deviations,
        exact_reasons=tuple(state.deviations),
        content_digest=store.content_digest,
        weights=fixed.get("weights"),
        learning_rate=fixed["learning_rate"],
        learning_rate_search=fixed["learning_rate_search"],
        environment=fixed["environment"],
        attempt=request.attempt,
    )
