"""Ranks and losses of networks so sure of themselves that their probabilities round to 0 and 1."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from resomap.cells.evaluation_record import predictions_path
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor
from resomap.compute.metrics import measure
from resomap.compute.normalisation import Normalisation
from resomap.core.errors import PermanentFailure
from resomap.core.files import read_json
from resomap.core.log_probabilities import class_margins, log_probabilities_of
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.evaluation.uncertainty import image_intervals
from resomap.statistics import Sample, quality
from resomap.train.attempt import train_cell
from resomap.train.request import Request

CPU = Execution(device=Device(torch.device("cpu"), "cpu"), precision=None, channels_last=False)


class AsTheyAre(torch.nn.Module):
    """A network whose logits are the colours of an image of one pixel, so many times as sure."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :, 0, 0] * self.factor


def answers(factor: float, images: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits float64, log-probabilities as the predictor gives them, and labels that the colours hint at."""
    random = np.random.default_rng(int(factor))
    labels = random.integers(0, 3, images)
    colours = np.clip(110 + 60 * np.eye(3)[labels] + 50 * random.normal(size=(images, 3)), 0, 255).astype(np.uint8)
    predictor = Predictor(Inference(AsTheyAre(factor).eval(), CPU), Normalisation((0.5,) * 3, (0.25,) * 3))
    found = predictor(torch.from_numpy(colours[:, None, None, :])).numpy()
    logits = ((torch.from_numpy(colours).float() / 255 - 0.5) / 0.25 * factor).double().numpy()
    return logits, found, labels


@pytest.mark.parametrize("factor", [1, 20, 400, 1e30])
def test_losses_and_areas_are_those_of_the_logits(factor: float) -> None:
    logits, found, labels = answers(factor)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    figures = measure(found, labels)
    expected = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)
    rest = [np.logaddexp.reduce(np.delete(logits, index, axis=1), axis=1) for index in range(3)]
    areas = [roc_auc_score(labels == index, logits[:, index] - rest[index]) for index in range(3)]
    # Logits of bytes tie often, and ties in float32 are no ties in float64.
    assert figures["auroc"] == pytest.approx(np.mean(areas), abs=1e-3)
    judged = quality("auroc", Sample(labels, found))
    assert judged is not None
    assert judged.value == pytest.approx(figures["auroc"], abs=1e-12)
    intervals = image_intervals(found, labels, figures)
    for name in ("loss", "auroc"):
        low, high = intervals[name] or (1.0, 0.0)
        assert low < (figures[name] or 0.0) < high


@pytest.mark.parametrize("scale", [1, 15, 60])
def test_two_classes_have_one_area_whichever_comes_first(scale: float) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 3000)
    difference = ((random.normal(size=3000) + 2 * labels - 0.3) * scale).astype(np.float32)
    logits = torch.from_numpy(np.stack([-difference / 2, difference / 2], axis=1))
    found = logits.double().log_softmax(1).float().numpy()
    area = measure(found, labels)["auroc"]
    assert area == pytest.approx(roc_auc_score(labels, difference), abs=1e-6)
    assert measure(found[:, ::-1], 1 - labels)["auroc"] == pytest.approx(area, abs=1e-12)
    # As files of earlier versions hold them: where p of one class rounds to 1, that of the other still tells.
    of_then = log_probabilities_of(logits.softmax(1).numpy())
    assert np.isfinite(of_then).all()
    assert measure(of_then, labels)["auroc"] == pytest.approx(area, abs=5e-3 if scale > 50 else 1e-6)


def test_margins_rank_as_probabilities_do_and_ties_stay_ties() -> None:
    shares = np.random.default_rng(0).dirichlet(np.full(4, 0.5), 300).round(2) + 1e-3
    shares = np.concatenate([shares, shares[:50]]) / np.concatenate([shares, shares[:50]]).sum(axis=1, keepdims=True)
    margins = class_margins(np.log(shares))
    for shares_of, margins_of in zip(shares.T, margins.T, strict=True):
        assert margins_of == pytest.approx(np.log(shares_of / (1 - shares_of)), abs=1e-9)
    assert (margins[:50] == margins[-50:]).all()


def test_predictions_of_earlier_versions_are_read(tmp_path: Path) -> None:
    shares = np.array([[0.9, 0.1], [1.0, 1e-20], [0.0, 1.0]], dtype=np.float32)
    labels = np.array([0, 1, 0])
    parts = {split: SplitPredictions(["a", "b", "c"], labels, np.log(np.maximum(shares, 1e-40))) for split in EVALUATED}
    Predictions("f", "u", ["no", "yes"], parts).save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if "probabilities" not in name}
    np.savez_compressed(tmp_path / "old.npz", **arrays, val_probabilities=shares, test_probabilities=shares)
    found = Predictions.load(tmp_path / "old.npz")
    assert found is not None
    part = found.splits["test"]
    assert part.probabilities == pytest.approx(shares, abs=1e-6)
    assert part.log_probabilities[1] == pytest.approx([0.0, np.log(1e-20)], rel=1e-5)
    assert measure(part.log_probabilities, labels)["loss"] == pytest.approx(
        np.mean([-np.log(0.9), -np.log(1e-20), 103.28]), rel=1e-4
    )


def test_the_loss_of_a_training_has_no_highest_value(study_in: Callable[..., Study]) -> None:
    """Clipped at the smallest step of a double, no loss of an image would exceed 36."""
    sure = {"epochs": 1, "optimizer": "sgd", "learning_rate": 3.0, "gradient_clip": None, "warmup_epochs": 0}
    study = study_in(training=sure)
    cell = study.cells()[0]
    train_cell(Request(study, cell, threads=1, attempt=1, say=lambda _sentence: None))
    with cell.history.open() as stream:
        (row,) = csv.DictReader(stream)
    marker = read_json(cell.marker)
    kept = Predictions.load(predictions_path(cell))
    assert kept is not None
    losses = {
        split: -part.log_probabilities[np.arange(len(part.labels)), part.labels] for split, part in kept.splits.items()
    }
    assert losses["val"].mean() > 40
    assert float(row["val/loss"]) == pytest.approx(losses["val"].mean(), rel=1e-6)
    evaluate_cell(study, cell, 1, lambda _sentence: None)
    record = read_json(cell.beside_marker("evaluation.json"))["test_resolutions"][str(cell.resolution)]
    for split in EVALUATED:
        assert marker["metrics"][f"{split}/loss"] == pytest.approx(losses[split].mean(), rel=1e-6)
        assert record[split]["metrics"]["loss"] == marker["metrics"][f"{split}/loss"]


def test_a_network_that_answers_with_no_numbers_has_diverged(study_in: Callable[..., Study]) -> None:
    # One step, whose loss is that of the first weights: only the answers after it tell.
    recipe = {"batch_size": 512, "optimizer": "sgd", "learning_rate": 1e37, "gradient_clip": None, "warmup_epochs": 0}
    study = study_in(training={"epochs": 2, **recipe})
    with pytest.raises(PermanentFailure, match=r"answers to validation images.*lower training\.learning_rate"):
        train_cell(Request(study, study.cells()[0], threads=1, attempt=1, say=lambda _sentence: None))
