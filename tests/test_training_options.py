"""Every key of `training` and of its sections changes what is trained, and a new key without a test fails here."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, RESOLUTION, draw_images
from pydantic import BaseModel

from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.config import Training
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.core.files import read_json
from resomap.train.attempt import train_cell
from resomap.train.objective import make_optimizer
from resomap.train.request import Request

# A change for each key whose effect is another set of final weights under the same seed.
CHANGES_WEIGHTS: dict[str, dict[str, Any]] = {
    "epochs": {"epochs": 2},
    "batch_size": {"batch_size": 16},
    "microbatch": {"microbatch": 4},
    "optimizer": {"optimizer": "sgd"},
    "learning_rate": {"learning_rate": 0.01},
    "weight_decay": {"weight_decay": 0.5},
    "layer_decay": {"layer_decay": 0.5},
    "momentum": {"optimizer": "sgd", "momentum": 0.5},
    "schedule": {"schedule": "constant"},
    "warmup_epochs": {"warmup_epochs": 1},
    "min_learning_rate": {"min_learning_rate": 0.0005},
    "gradient_clip": {"gradient_clip": 0.01},
    "label_smoothing": {"label_smoothing": 0.2},
    "class_weights": {"class_weights": "balanced"},
    "ema_decay": {"ema_decay": 0.9},
    "dropout": {"dropout": 0.5},
    "amp": {"amp": "bf16"},
    "augment.hflip": {"augment": {"hflip": 0.0}},
    "augment.vflip": {"augment": {"vflip": 0.5}},
    "augment.rotate90": {"augment": {"rotate90": True}},
    "augment.scale": {"augment": {"scale": 0.5}},
    "augment.degrees": {"augment": {"degrees": 20}},
    "augment.brightness": {"augment": {"brightness": 0.3}},
    "augment.contrast": {"augment": {"contrast": 0.3}},
    "augment.erase": {"augment": {"erase": 0.5}},
    "augment.mixup": {"augment": {"mixup": 0.4}},
    "augment.cutmix": {"augment": {"cutmix": 1.0}},
    "augment.policy": {"augment": {"policy": "trivialaugment"}},
    "augment.blur": {"augment": {"blur": 0.5}},
}
# Keys whose effect has another shape, each with a test below or elsewhere.
TESTED_ELSEWHERE = {
    "recipe": "test_recipes.py",
    "augment.operations": "test_policies.py",
    "augment.magnitude": "test_policies.py",
    "augment.saturation": "test_policies.py",  # the images here are grey
    "augment.hue": "test_policies.py",
    "freeze_epochs": "test_recipes.py",
    "trainable": "test_recipes.py",
    "weights": "test_weights.py",
    **{
        f"learning_rate_search.{name}": "test_learning_rate.py"
        for name in ("rates", "epochs", "held_out", "resolution", "seed")
    },
    "compile": "test_compiled.py",
    "graphs": "test_step_graph.py",
    "channels_last": "test_channels_last_sets_the_memory_layout",
    "monitor": "test_monitor_chooses_the_best_epoch",
    "early_stopping.enabled": "test_early_stopping",
    "early_stopping.patience": "test_early_stopping",
    "early_stopping.min_delta": "test_early_stopping",
    "early_stopping.warmup_epochs": "test_early_stopping",
}


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_key_has_a_test() -> None:
    assert set(keys(Training)) == set(CHANGES_WEIGHTS) | set(TESTED_ELSEWHERE)


@dataclass
class Outcome:
    """Outcome of one training."""

    marker: dict[str, Any]
    weights: dict[str, torch.Tensor]
    history: list[dict[str, str]]


Trained = Callable[..., Outcome]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of unequal size, or class weights would have nothing to weigh."""
    folder = tmp_path_factory.mktemp("unequal")
    draw_images(folder, 40)
    for path in sorted((folder / "down").iterdir())[::2]:
        path.unlink()
    return folder


@pytest.fixture
def trained(study_in: Callable[..., Study]) -> Trained:
    """Trains the one cell of a fresh study under the given `training` keys."""

    def run(config: dict[str, Any] | None = None, **training: Any) -> Outcome:
        study = study_in(training={"epochs": 1, **training}, **(config or {}))
        cell = study.cells()[0]
        train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
        with cell.beside_marker("history.csv").open() as stream:
            history = list(csv.DictReader(stream))
        return Outcome(read_json(cell.marker), load_sealed(cell.checkpoints / "final.pt")["model"], history)

    return run


def differ(one: Outcome, other: Outcome) -> bool:
    return any(not torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


BASELINES: dict[str, Outcome] = {}  # trained once, compared with often


@pytest.mark.parametrize("key", CHANGES_WEIGHTS)
def test_key_changes_the_weights(key: str, trained: Trained) -> None:
    change = CHANGES_WEIGHTS[key]
    optimizer = change["optimizer"] if key == "momentum" else "adamw"
    if optimizer not in BASELINES:
        BASELINES[optimizer] = trained(optimizer=optimizer)
    assert differ(BASELINES[optimizer], trained(**change))


def test_nothing_else_changes_the_weights(trained: Trained) -> None:
    """The comparison above means something: the same settings give the same bits."""
    assert not differ(trained(), trained())


def test_seed_changes_the_weights(trained: Trained) -> None:
    assert differ(trained(), trained(config={"seeds": [1]}))


def test_channels_last_sets_the_memory_layout(trained: Trained) -> None:
    def is_channels_last(outcome: Outcome) -> bool:
        return outcome.weights["layer1.0.conv2.weight"].is_contiguous(memory_format=torch.channels_last)

    assert is_channels_last(trained())
    assert not is_channels_last(trained(channels_last=False))


def test_monitor_chooses_the_best_epoch(trained: Trained) -> None:
    for monitor, choose in (("loss", min), ("accuracy", max), ("balanced_accuracy", max), ("macro_f1", max)):
        outcome = trained(epochs=5, monitor=monitor, early_stopping={"enabled": False})
        values = [float(row[f"val/{monitor}"]) for row in outcome.history]
        assert outcome.marker["best_epoch"] == values.index(choose(values)) + 1
        assert outcome.marker["metrics"][f"val/{monitor}"] == pytest.approx(choose(values), abs=1e-6)


def test_early_stopping(trained: Trained) -> None:
    # A learning rate that changes nothing: no epoch improves by min_delta on the first.
    idle = {"epochs": 8, "learning_rate": 1e-9, "min_learning_rate": 0.0}
    strategy = {"patience": 2, "warmup_epochs": 0, "min_delta": 0.5}
    assert trained(**idle, early_stopping=strategy).marker["epochs"] == 3
    assert trained(**idle, early_stopping={**strategy, "patience": 4}).marker["epochs"] == 5
    assert trained(**idle, early_stopping={**strategy, "warmup_epochs": 3}).marker["epochs"] == 5
    assert trained(**idle, early_stopping={**strategy, "enabled": False}).marker["epochs"] == 8
    learning = {"epochs": 6, "early_stopping": {**strategy, "min_delta": 0.0}}
    improved = trained(**learning)
    assert improved.marker["best_epoch"] > 1
    assert trained(**{**learning, "early_stopping": {**strategy, "min_delta": 5.0}}).marker["best_epoch"] == 1


def test_overrides_give_a_model_its_own_strategy(trained: Trained) -> None:
    strategy = {"early_stopping": {"patience": 1, "warmup_epochs": 0, "min_delta": 0.5}, "learning_rate": 1e-9}
    outcome = trained(config={"overrides": {MODEL: strategy}}, epochs=6)
    assert outcome.marker["epochs"] == 2
    outcome = trained(
        config={"overrides": {MODEL: strategy, f"{MODEL}@{RESOLUTION}": {"early_stopping": {"patience": 3}}}}, epochs=6
    )
    assert outcome.marker["epochs"] == 4


def test_deterministic_is_switched_on_in_torch(trained: Trained) -> None:
    try:
        trained(config={"deterministic": True})
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_keep_decides_what_stays(study_in: Callable[..., Study]) -> None:
    for keep in (["best"], ["last", "final"], []):
        study = study_in(training={"epochs": 1}, checkpoints={"keep": keep, "every_minutes": 0})
        cell = study.cells()[0]
        train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
        left = {path.stem for path in cell.checkpoints.glob("*.pt")} - {"previous"}
        assert left == set(keep)


@pytest.mark.parametrize(
    ("name", "is_fused"), [("adamw", True), ("SGD", True), ("lookahead_adam", True), ("lamb", False)]
)
def test_the_weights_are_updated_in_one_kernel_where_torch_has_it(name: str, is_fused: bool) -> None:
    optimizer = make_optimizer(torch.nn.Linear(2, 2), Training(optimizer=name))
    assert bool(optimizer.param_groups[0].get("fused")) == is_fused


def test_an_optimizer_that_timm_does_not_know_is_one_sentence(trained: Trained) -> None:
    with pytest.raises(ResomapError, match="'adamm', and timm has no such optimizer; did you mean 'adam'"):
        trained(optimizer="adamm")
    with pytest.raises(PermanentFailure, match="timm cannot make the optimizer 'adamm'"):
        make_optimizer(torch.nn.Linear(2, 2), Training(optimizer="adamm"))


def test_divergence_ends_the_cell_for_good(trained: Trained) -> None:
    with pytest.raises(PermanentFailure, match=r"diverged at epoch \d+, step \d+"):
        trained(epochs=3, optimizer="sgd", learning_rate=1e12, warmup_epochs=0, gradient_clip=None)
