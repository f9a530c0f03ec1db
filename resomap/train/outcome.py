"""What a finished training leaves behind: weights, predictions, history, and the content of its marker."""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resomap.cell import Cell
from resomap.data.store import Store
from resomap.evaluate import Predictor, predict
from resomap.files import replace_atomically, write_text
from resomap.inputs import Normalisation
from resomap.marker import SCHEMA
from resomap.metrics import measure
from resomap.train import checkpoint
from resomap.train.device import Device
from resomap.train.loop import evaluation_batch
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
) -> None:
    """best.pt or final.pt: weights and what it takes to use them, in one sealed file."""
    cell = request.cell
    content = {
        "format": checkpoint.FORMAT,
        "model": checkpoint.on_cpu(weights),
        "name": cell.model,
        "library": request.study.index.entry(cell.model).library,
        "resolution": cell.resolution,
        "classes": list(store.classes),
        "mean": list(normalisation.mean),
        "std": list(normalisation.std),
        "fit": request.study.config.data.fit,
        "epoch": epoch,
        "fingerprint": request.fingerprint,
    }
    checkpoint.save_sealed(cell.checkpoints / name, content)


def evaluate_best(request: Request, state: TrainingState, store: Store, predictor: Predictor) -> Metrics:
    """Metrics of the best weights on validation and test, by `split/name`; writes the predictions beside the marker."""
    predictor.model.load_state_dict(state.best_weights)
    metrics: Metrics = {}
    arrays: dict[str, np.ndarray] = {"classes": np.array(store.classes)}
    for split in ("val", "test"):
        images = store.split(split)
        probabilities = predict(predictor, images, evaluation_batch(request.recipe))
        metrics |= {f"{split}/{name}": value for name, value in measure(probabilities, images.labels).items()}
        arrays |= {
            f"{split}_names": np.array(images.names),
            f"{split}_labels": np.asarray(images.labels),
            f"{split}_probabilities": probabilities,
        }
    path = predictions_path(request.cell)
    replace_atomically(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
    return metrics


def write_history(cell: Cell, rows: list[dict[str, Any]]) -> None:
    """One line an epoch. Without times, so that a resumed training writes the same bytes."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(history_path(cell), text.getvalue())


def marker_content(
    request: Request,
    state: TrainingState,
    store: Store,
    device: Device,
    fixed: Mapping[str, Any],
    metrics: Metrics,
) -> dict[str, Any]:
    """The done marker of a training that ended here; `run_id` comes later, if at all."""
    cell = request.cell
    return {
        "schema": SCHEMA,
        "model": cell.model,
        "resolution": cell.resolution,
        "seed": cell.seed,
        "fingerprint": request.fingerprint,
        "base": request.study.base,
        "uid": fixed["uid"],
        "run_id": None,
        "origin": "local",
        "finished_at": time.time(),
        "epochs": state.epoch,
        "best_epoch": state.best.epoch,
        "metrics": metrics,
        "cost": {
            "params": sum(parameter.numel() for parameter in state.model.parameters()),
            "flops": flops(state.model, cell.resolution, device),
            "train_seconds": state.seconds,
            "images_per_second": state.images_seen / max(1e-9, state.seconds),
            "peak_training_memory_bytes": device.peak_memory_bytes(),
            "device": device.name,
        },
        "exact": not fixed["deviations"],
        "exact_reasons": fixed["deviations"],
        "content_digest": store.content_digest,
        "environment": fixed["environment"],
        "attempt": request.attempt,
    }


def drop_unwanted(cell: Cell, keep: Sequence[str]) -> None:
    """Delete the checkpoint files that `checkpoints.keep` does not name; the cell is complete without them."""
    files = {"last": ("last.pt", "previous.pt"), "best": ("best.pt",), "final": ("final.pt",)}
    for kind, names in files.items():
        for name in names if kind not in keep else ():
            (cell.checkpoints / name).unlink(missing_ok=True)


def flops(model: nn.Module, resolution: int, device: Device) -> int:
    """Floating-point operations of one forward pass of one image (a multiply-add counts as two)."""
    model.eval()
    image = torch.zeros(1, 3, resolution, resolution, device=device.torch)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return int(counter.get_total_flops())


def predictions_path(cell: Cell) -> Path:
    return cell.beside_marker("predictions.npz")


def history_path(cell: Cell) -> Path:
    return cell.beside_marker("history.csv")
