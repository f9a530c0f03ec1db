"""Trainings that cannot be done are refused before their first step, and nothing that is not finite is saved."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_self_check import check_of
from torch import Tensor, nn

from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed, on_cpu, save_sealed
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.config import Training
from resomap.config.hashed import recipe_version
from resomap.core.errors import PermanentFailure, ResomapError
from resomap.models.optimizer_names import require_optimizers
from resomap.models.optimizers import survey
from resomap.train.batch_parts import part_sizes, takes_single_image
from resomap.train.checkpoint_saver import CheckpointSaver
from resomap.train.microbatch_search import _largest_fitting, _Trial
from resomap.train.objective import make_optimizer
from resomap.train.schedule import learning_rate

CPU = Execution(device=Device(torch.device("cpu"), "cpu"), precision=None, channels_last=False)


# Parts of a batch


@given(images=st.integers(2, 300), microbatch=st.integers(2, 300))
def test_no_part_is_one_image_where_none_may_be(images: int, microbatch: int) -> None:
    plain, parts = part_sizes(images, microbatch), part_sizes(images, microbatch, 2)
    assert sum(plain) == sum(parts) == images
    assert min(parts) >= 2
    assert max(plain) <= microbatch
    if 1 not in plain:
        assert parts == plain, "where nothing has to change, no bit does"
    else:
        assert max(parts) - min(parts) <= 1
        assert max(parts) <= microbatch or images // 2 * 2 != images


def test_parts_worked_out_by_hand() -> None:
    assert part_sizes(5, 2) == [2, 2, 1]
    assert part_sizes(5, 2, 2) == [3, 2]
    assert part_sizes(32, 31, 2) == [16, 16]
    assert part_sizes(7, 3, 2) == [3, 2, 2]
    assert part_sizes(32, None, 2) == [32]
    with pytest.raises(ValueError, match="at least 2"):
        part_sizes(4, 1, 2)


def network(pixels: int) -> nn.Sequential:
    """Batch normalisation over maps of pixels x pixels; images have 24 px."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4),
        nn.AdaptiveAvgPool2d(pixels),
        nn.Dropout(0.1),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(4 * pixels**2, 2),
    )


def test_a_trial_with_one_image_leaves_no_trace() -> None:
    model, other, image = network(1).train(), network(2).train(), torch.rand(1, 3, 24, 24)
    before, state = on_cpu(model.state_dict()), torch.get_rng_state()
    assert not takes_single_image(model, image)
    assert takes_single_image(other, image)
    assert takes_single_image(model.eval(), image), "frozen, it does not look at the batch"
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def images_a_pass(model: nn.Sequential) -> list[int]:
    """Sizes of the passes in training mode, as they happen: those with gradients."""
    seen: list[int] = []
    first = model[0]
    first.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])) if torch.is_grad_enabled() else None)
    return seen


@pytest.mark.parametrize(("pixels", "parts"), [(1, [3, 3, 2]), (2, [3, 3, 2])])
def test_a_leftover_of_two_is_left_alone(pixels: int, parts: list[int]) -> None:
    model = network(pixels)
    seen = images_a_pass(model)
    check_of(model, CPU, microbatch=3)[1].run()
    assert seen == parts * 3


@pytest.mark.parametrize(("pixels", "parts"), [(1, [4, 4]), (2, [7, 1])])
def test_a_leftover_of_one_is_split_evenly_where_the_network_refuses_it(pixels: int, parts: list[int]) -> None:
    model = network(pixels)
    seen = images_a_pass(model)
    check_of(model, CPU, microbatch=7)[1].run()
    assert seen == parts * 3


def test_one_image_a_pass_is_refused_before_the_first_step() -> None:
    check, _ = check_of(network(1), CPU, microbatch=1)
    with pytest.raises(PermanentFailure, match="batch normalisation cannot train with one image a forward pass at 24"):
        check.run(CPU)
    check_of(network(2), CPU, microbatch=1)[0].run(CPU)


@pytest.mark.parametrize(("pixels", "reason"), [(1, "cannot train with one at 24 px"), (2, "with one image at a time")])
def test_halving_for_want_of_memory_never_ends_in_a_crash(pixels: int, reason: str) -> None:
    """A device on which not even one image fits."""
    model = network(pixels)

    def refuse(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("injected")

    model[0].register_forward_pre_hook(refuse)
    _, loop = check_of(model, CPU)
    with pytest.raises(PermanentFailure, match=reason):
        loop.run()


@pytest.mark.parametrize(("fits", "found"), [(5, 5), (3, 3), (2, None)])
def test_auto_tries_the_parts_that_a_training_will_have(
    study_in: Callable[..., Study], fits: int, found: int | None
) -> None:
    """5 images in parts of at most 2 are 3 and 2 for a network that takes no single image."""
    study = study_in(training={"batch_size": 5, "microbatch": "auto"})
    trial = _Trial(study, study.cell("resnet18", 32), 2, CPU.device)

    def refuse(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > fits:
            raise torch.OutOfMemoryError("injected")

    next(trial._model.children()).register_forward_pre_hook(refuse)
    tried: list[dict[str, Any]] = []
    assert _largest_fitting(trial, CPU.device, 2**40, tried) == found
    if found is None:
        assert [one["images"] for one in tried] == [5, 3, 2, 1]
        assert "batch normalisation cannot train with one image" in tried[-1]["reason"]


# Optimizers


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adahessian", "needs second derivatives"),
        ("lookahead_AdaHessian", "needs second derivatives"),
        ("adamww", "no such optimizer; did you mean 'adamw"),
        ("lookahead_", "no such optimizer"),
    ],
)
def test_an_optimizer_that_cannot_train_is_refused_by_the_plan(name: str, reason: str) -> None:
    with pytest.raises(ResomapError, match=reason):
        require_optimizers(["adamw", name])
    with pytest.raises(PermanentFailure):
        make_optimizer(nn.Linear(2, 2), Training(optimizer=name))


def test_what_the_plan_lets_through_takes_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name of the installed timm, alone and wrapped: what takes no steps with first derivatives is refused."""
    monkeypatch.setattr(torch, "compile", lambda function=None, **_: function)  # of kron's kernels: it takes a minute
    tried = {wrapper: [0, 0] for wrapper in ("", "lookahead_")}
    for name, is_usable in survey().items():
        for wrapper, counts in tried.items():
            model, recipe = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), Training(optimizer=f"{wrapper}{name}")
            if not is_usable:
                with pytest.raises(PermanentFailure, match="second derivatives"):
                    make_optimizer(model, recipe)
                counts[1] += 1
                continue
            try:
                optimizer = make_optimizer(model, recipe)
            except PermanentFailure as error:
                if "CUDA required" not in str(error):  # of those for a GPU alone
                    raise
                continue
            before = on_cpu(model.state_dict())
            for _ in range(2):  # the first of adopt moves nothing
                model(torch.randn(3, 4)).square().mean().backward()
                optimizer.step()
            assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items()), name
            counts[0] += 1
    assert all(steps > 40 and refused >= 1 for steps, refused in tried.values()), tried


def test_the_plan_looks_at_overrides_too(images: Path, tmp_path: Path) -> None:
    values = {"models": ["test_resnet"], "resolutions": [32], "data": {"source": str(images)}}
    with contextlib.chdir(tmp_path), pytest.raises(ResomapError, match="second derivatives"):
        Study.open({**values, "overrides": {"test_resnet@32": {"optimizer": "adahessian"}}})


def test_a_tuple_in_an_optimizers_state_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kron keeps the state of a random.Random, which takes no list; betas are tuples too."""
    monkeypatch.setattr(torch, "compile", lambda function=None, **_: function)  # of its kernels, which takes a minute

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        torch.manual_seed(number)
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    recipe = Training(optimizer="kron")
    whole = nn.Linear(8, 3)
    resumed = nn.Linear(8, 3)
    optimizer = make_optimizer(whole, recipe)
    for number in range(3):
        step(whole, optimizer, number)
    save_sealed(tmp_path / "last.pt", {"model": on_cpu(whole.state_dict()), "state": on_cpu(optimizer.state_dict())})
    saved = load_sealed(tmp_path / "last.pt")
    resumed.load_state_dict(saved["model"])
    again = make_optimizer(resumed, recipe)
    again.load_state_dict(on_cpu(saved["state"]))
    for number in range(3, 8):
        step(whole, optimizer, number)
        step(resumed, again, number)
    assert torch.equal(whole.weight, resumed.weight)
    assert isinstance(on_cpu({"a": [(1, [2])]})["a"][0], tuple)


# Divergence


class Overflow(torch.autograd.Function):
    """Identity whose gradient is not finite from the given step on, while the loss still is."""

    @staticmethod
    def forward(context: Any, values: Tensor, factor: Tensor, finite: bool) -> Tensor:
        context.finite = finite
        return values * factor

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        return gradient, torch.full((1,), 1.0 if context.finite else torch.inf), None


class Diverging(nn.Module):
    """Factor whose update at the given pass leaves no finite number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.passes, self.factor = at, 0, nn.Parameter(torch.ones(1))

    def forward(self, values: Tensor) -> Tensor:
        self.passes += self.training
        return Overflow.apply(values, self.factor, self.passes < self.at)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_divergence_in_the_last_step_is_said_and_nothing_is_kept(ema_decay: float | None) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.Flatten(), nn.Linear(144, 2), Diverging(at=3))
    check, loop = check_of(model, CPU, gradient_clip=None, ema_decay=ema_decay)
    with pytest.raises(PermanentFailure, match=r"diverged at epoch 1, step 3 \(3.factor is no longer finite\)"):
        loop.run()
    assert check.state.best_weights == {}


def test_no_checkpoint_holds_weights_that_are_not_finite(study_in: Callable[..., Study]) -> None:
    study = study_in()
    cell = study.cells()[0]
    check, _ = check_of(network(2), CPU)
    saver = CheckpointSaver(cell, study.config.checkpoints, {}, print)
    saver.save(check.state)
    assert saver.wait()
    first = load_sealed(cell.checkpoints / "last.pt")["model"]
    with torch.no_grad():
        check.state.model.get_buffer("3.running_var")[0] = torch.nan
    with pytest.raises(PermanentFailure, match=r"3.running_var is no longer finite"):
        saver.save(check.state)
    kept = load_sealed(cell.checkpoints / "last.pt")["model"]
    assert all(torch.equal(values, kept[name]) for name, values in first.items())


# Warm-up


@pytest.mark.parametrize(
    ("epochs", "warmup", "steps"), [(1, 1.0, 10), (1, 50.0, 3), (3, 3.0, 4), (3, 10.0, 7), (2, 1.5, 2)]
)
def test_a_warm_up_never_takes_more_than_half_of_a_training(epochs: int, warmup: float, steps: int) -> None:
    recipe = Training(epochs=epochs, warmup_epochs=warmup)
    rates = [learning_rate(step, steps, recipe) for step in range(epochs * steps)]
    assert rates[-1] == pytest.approx(recipe.min_learning_rate)
    assert rates.index(max(rates)) <= len(rates) / 2
    assert max(rates) == pytest.approx(recipe.learning_rate)
    assert recipe_version(recipe) == 4


def test_a_warm_up_that_fits_keeps_its_course_and_its_fingerprint() -> None:
    recipe = Training(epochs=2, warmup_epochs=1)
    assert recipe_version(recipe) == 2
    assert [learning_rate(step, 4, recipe) for step in range(5)] == pytest.approx(
        [0.0002, 0.0004, 0.0006, 0.0008, 0.001]
    )
