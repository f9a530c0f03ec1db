"""Recipes by name, layer-wise rates and frozen epochs; bits equal after a kill with all of them."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import MODEL, RESOLUTION, trainer
from endings import End, assert_same_bits, last
from pydantic import ValidationError
from test_self_check import check_of
from test_untrainable import CPU, network
from waiting import wait_for

from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.commands.config_documents import config_readme, config_yaml
from resomap.compute.checkpoint import load_sealed, on_cpu
from resomap.config import Training, parse_config
from resomap.config.hashed import hashed
from resomap.config.load import merge, training_for
from resomap.config.recipes import NAMED_KEYS, RECIPES
from resomap.core.errors import PermanentFailure
from resomap.models.build import build_model
from resomap.models.weights_fit import head_tensors
from resomap.train.attempt import train_cell
from resomap.train.events import NullObserver
from resomap.train.loop import Loop
from resomap.train.objective import make_optimizer
from resomap.train.probing import linear_head
from resomap.train.request import Request
from resomap.train.state import TrainingState


def values_of(recipe: Training) -> dict[str, Any]:
    """The values of the keys that recipes set, with dots."""
    values = {}
    for path in NAMED_KEYS:
        value: Any = recipe
        for name in path.split("."):
            value = getattr(value, name)
        values[path] = value
    return values


def flat(values: dict[str, Any]) -> dict[str, Any]:
    inner = {f"{name}.{key}": value for name, of in values.items() if isinstance(of, dict) for key, value in of.items()}
    return {name: value for name, value in values.items() if not isinstance(value, dict)} | inner


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_its_values_and_each_can_still_be_set(name: str) -> None:
    recipe = Training(recipe=name)
    assert values_of(recipe) == flat(RECIPES[name])
    contrast = 0.0 if name == "linear_probe" else 0.3
    changed = Training(recipe=name, learning_rate=0.5, augment={"contrast": contrast})
    assert values_of(changed) == {**flat(RECIPES[name]), "learning_rate": 0.5, "augment.contrast": contrast}
    assert Training.model_validate(recipe.model_dump()) == recipe, "as a job reads it from study.json"


def test_scratch_is_the_schemas_defaults() -> None:
    fields = Training.model_fields
    augment = Training().augment
    for name, value in flat(RECIPES["scratch"]).items():
        section, _, inner = name.rpartition(".")
        kind = type(augment).model_fields if section else fields
        assert kind[inner].default == value, name
    assert all(recipe.keys() == RECIPES["scratch"].keys() for recipe in RECIPES.values())


def test_a_file_with_a_recipe_works_on_top_of_the_shipped_configuration() -> None:
    shipped = yaml.safe_load(config_yaml())
    mine = {"training": {"recipe": "finetune", "epochs": 7}}
    found = parse_config(merge(shipped, mine)).training
    assert values_of(found) == {**flat(RECIPES["finetune"]), "epochs": 7}
    for path in NAMED_KEYS:
        assert f"# {path.rpartition('.')[2]}:" in config_yaml(), "no value in the file may go before the recipe's"
        assert f"| {path} |" in config_readme()


def test_a_recipe_in_an_override_leaves_nothing_of_another_behind() -> None:
    config = parse_config(
        {
            "training": {"recipe": "finetune", "epochs": 7, "batch_size": 16},
            "overrides": {"resnet18": {"recipe": "scratch"}, "vgg11@64": {"recipe": "finetune", "ema_decay": 0.5}},
        }
    )
    scratch = training_for(config, "resnet18@32")
    assert values_of(scratch) == flat(RECIPES["scratch"])
    assert scratch.batch_size == 16
    assert values_of(training_for(config, "vgg11@64")) == {**flat(RECIPES["finetune"]), "ema_decay": 0.5}
    assert training_for(config, "vgg11@32").epochs == 7


def test_fingerprints_hold_the_values_and_not_the_name() -> None:
    assert hashed(Training(recipe="finetune"), "training") == hashed(Training(**RECIPES["finetune"]), "training")
    assert "recipe" not in hashed(Training(recipe="finetune"), "training")
    assert {"layer_decay", "freeze_epochs"}.isdisjoint(hashed(Training(), "training"))


def test_a_training_in_which_nothing_but_the_head_would_learn_is_refused() -> None:
    with pytest.raises(ValidationError, match="freeze_epochs 3 leaves none of 3 epochs"):
        Training(epochs=3, freeze_epochs=3)


# Layer-wise rates


@pytest.mark.parametrize("name", ["test_resnet", "resnet18", "vgg11", "convnext_tiny", "test_vit"])
def test_the_rate_falls_from_the_head_to_the_stem(name: str) -> None:
    """Torchvision's networks too, which do not tell their layers themselves."""
    model = build_model(name, 64, 3).model
    optimizer = make_optimizer(model, Training(layer_decay=0.5))
    scales = {id(one): group["lr_scale"] for group in optimizer.param_groups for one in group["params"]}
    named = dict(model.named_parameters())
    assert scales.keys() == {id(one) for one in named.values()}
    in_order = [scales[id(one)] for one in named.values()]
    head = head_tensors(model)
    assert all(scales[id(named[one])] == 1 for one in head)
    assert max(scale for one, scale in zip(named, in_order, strict=True) if one not in head) in (0.5, 1.0)
    assert in_order[0] == min(in_order) < 0.5
    assert not hasattr(model, "group_matcher") or hasattr(model, "pretrained_cfg")
    plain = make_optimizer(model, Training())
    assert all("lr_scale" not in group for group in plain.param_groups)


# Frozen epochs


class Watch(NullObserver):
    """Keeps the weights at the end of each epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def after_epoch(self, state: TrainingState) -> None:
        self.weights.append(on_cpu(state.model.state_dict()))


@pytest.mark.parametrize("microbatch", [None, 7])
def test_only_the_head_learns_until_the_network_does(microbatch: int | None) -> None:
    """Frozen batch normalisation takes a leftover of one image; learning, it does not, and the batch is split anew."""
    model = network(1)
    _, loop = check_of(model, CPU, epochs=3, freeze_epochs=2, microbatch=microbatch)
    loop._observer = watch = Watch()
    before = on_cpu(model.state_dict())
    loop.run()
    head = head_tensors(model)
    for epoch, changing in ((0, head), (1, head), (2, set(before))):
        after = watch.weights[epoch]
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == changing, f"epoch {epoch + 1}"
        before = after
    assert all(parameter.requires_grad for parameter in model.parameters())


# Linear probe


def test_augmentation_of_a_linear_probe_is_refused() -> None:
    assert Training(recipe="linear_probe").trainable == "head"
    with pytest.raises(ValidationError, match=r"augment.hflip must be 0.0 \(as in `recipe: linear_probe`\)"):
        Training(recipe="linear_probe", augment={"hflip": 0.5})
    with pytest.raises(ValidationError, match=r"augment\.policy must be none"):
        Training(recipe="linear_probe", augment={"policy": "randaugment"})


@pytest.mark.parametrize(
    ("name", "head"), [("resnet18", "fc"), ("convnext_tiny", "classifier.2"), ("vgg11", "classifier.6")]
)
def test_the_head_is_one_linear_layer(name: str, head: str) -> None:
    with torch.device("meta"):
        assert linear_head(build_model(name, 64, 3).model) == head


@pytest.mark.parametrize("name", ["squeezenet1_0", "levit_128s"])
def test_a_network_whose_scores_are_no_linear_layers_is_refused(name: str) -> None:
    with (
        torch.device("meta"),
        pytest.raises(PermanentFailure, match="not those of one linear layer; set `recipe: fine"),
    ):
        linear_head(build_model(name, 224, 3).model)


def test_a_probe_learns_what_the_frozen_network_would(study_in: Callable[..., Study]) -> None:
    """best.pt is a whole network, of which only the head has changed, and its answers are those of the features."""
    study = study_in(training={"recipe": "linear_probe", "weights": None, "epochs": 5, "learning_rate": 0.05})
    cell = study.cells()[0]
    train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
    torch.manual_seed(0)
    before = build_model(MODEL, RESOLUTION, 2).model.state_dict()
    best = load_sealed(cell.checkpoints / "best.pt")["model"]
    changed = {name for name in before if not torch.equal(before[name], best[name])}
    assert changed == {"fc.weight", "fc.bias"}
    marker = Marker.read(cell.marker)
    assert marker is not None
    row = cell.history.read_text().splitlines()[marker.best_epoch or 0].split(",")
    by_features = dict(zip(cell.history.read_text().splitlines()[0].split(","), row, strict=True))
    assert float(by_features["val/loss"]) == pytest.approx(marker.metrics["val/loss"], rel=1e-5)
    assert marker.metrics["val/accuracy"] > 0.5  # type: ignore[operator]


# Moving average

# Networks that keep what they derive from their weights while they evaluate.
KEEPING = ["levit_128s", "tiny_vit_5m_224", "efficientformerv2_s0"]


class Stop(Exception):
    """The training is interrupted."""


class StopAt(NullObserver):
    """Ends a training within an epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def after_step(self, state: TrainingState) -> None:
        if state.epoch == self._epoch and state.step == 2:
            raise Stop


@pytest.mark.slow
@pytest.mark.parametrize("name", KEEPING)
def test_a_moving_average_is_judged_by_its_present_weights_and_resumes_to_the_same_bits(name: str) -> None:
    """With whatever timm is installed: before 1.0.30 its networks answered with biases of the epoch before."""

    def training(observer: NullObserver) -> Loop:
        torch.manual_seed(0)
        model = build_model(name, 32, 2).model
        _, loop = check_of(model, CPU, epochs=4, ema_decay=0.5, learning_rate=0.01)
        loop._observer = observer
        return loop

    whole = training(NullObserver())
    whole.run()
    end = whole._state
    stopped = training(StopAt(2))
    with pytest.raises(Stop):
        stopped.run()
    resumed = training(NullObserver())
    resumed._state.restore(stopped._state.content({}), torch.device("cpu"), name)
    resumed.run()
    again = resumed._state
    assert again.history == end.history
    assert again.best.epoch == end.best.epoch
    for mine, theirs in ((again.ema, end.ema), (again.model, end.model)):
        assert mine is not None
        assert theirs is not None
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in mine.state_dict().items())
    # What was said of the last epoch is what a network says that has these weights from its start.
    assert end.ema is not None
    fresh = training(NullObserver())
    assert fresh._state.ema is not None
    fresh._state.ema.module.load_state_dict(end.ema.module.state_dict())
    images = whole._data.validation
    assert images is not None
    last_row = {f"val/{key}": value for key, value in fresh._validate(images).items()}
    assert last_row.items() <= end.history[-1].items()


# Exact resume


FINETUNED = {"recipe": "finetune", "epochs": 4, "freeze_epochs": 2, "layer_decay": 0.7}
AUGMENTED = {"policy": "trivialaugment", "cutmix": 1.0, "mixup": 0.2, "blur": 0.2, "hue": 0.1, "saturation": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "training", [{**FINETUNED, "augment": AUGMENTED}, {"recipe": "linear_probe", "epochs": 4}], ids=["tuned", "probe"]
)
def test_killed_in_any_epoch_it_ends_with_the_same_bits(
    study_in: Callable[..., Study], tmp_path: Path, training: dict[str, Any]
) -> None:
    cell, training = f"{MODEL}@{RESOLUTION}", {**training, "weights": None}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, training=training)
    assert trainer(cell, whole).wait(timeout=120) == 0
    study_in(killed, training=training, checkpoints={"every_minutes": 0})
    log = killed / "results" / MODEL / f"{RESOLUTION}.log"
    for epochs in (0, 1, 2):  # within the first epoch, the second frozen one, and the first that is not
        process, started = trainer(cell, killed), time.time()
        wait_for(
            lambda since=started, done=epochs, process=process: (
                process.poll() is not None
                or (
                    last(killed).exists()
                    and last(killed).stat().st_mtime > since
                    and (done == 0 or f"epoch {done}/4" in log.read_text())
                )
            )
        )
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:  # it was faster than the kill
            break
    else:
        assert trainer(cell, killed).wait(timeout=120) == 0
    end = End.of(killed)
    assert end.marker["exact"] is True
    assert_same_bits(End.of(whole), end)
