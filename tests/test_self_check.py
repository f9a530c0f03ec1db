"""A training computes the gradients of one batch twice, and believes only what has the same bits.

It does so before its first step, and once more where the microbatch was halved.

Memory that nobody wrote is read here for real, by a layer of our own, so that these tests need no faulty processor.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import MODEL
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.compute.same_bits import compute_twice
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.data.store import Images
from resomap.train.attempt import train_cell
from resomap.train.batches import TrainingBatches
from resomap.train.events import NullObserver
from resomap.train.loop import Loop, TrainingData
from resomap.train.objective import Objective, make_optimizer, make_scaler
from resomap.train.request import Request
from resomap.train.self_check import Checked, SelfCheck
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar

CPU = Device(torch.device("cpu"), "cpu")
BF16 = Execution(device=CPU, precision=torch.bfloat16, channels_last=True)
HARD: dict[str, Any] = {"microbatch": 3, "ema_decay": 0.9, "dropout": 0.2, "augment": {"mixup": 0.4, "scale": 0.6}}


@pytest.fixture(autouse=True)
def kernels_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.set_flags(_enabled=True)


class _Scale(torch.autograd.Function):
    """Multiplication whose gradient adds zero times (or, as noise, a little of) what was in memory before."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: Tensor, layer: "Faulty") -> Tensor:
        ctx.save_for_backward(values, factor)
        ctx.layer = layer
        return values * factor.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        values, factor = ctx.saved_tensors
        of_factor = (gradient * values).sum().float().reshape(1)
        if ctx.layer.is_faulty(gradient.dtype):
            of_factor = of_factor + ctx.layer.found(gradient)
        return gradient * factor.to(gradient.dtype), of_factor, None


class Faulty(nn.Module):
    """Layer that is wrong where `is_faulty` says so, of the dtype of its gradient."""

    def __init__(
        self, is_faulty: Callable[[torch.dtype], bool], found: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.is_faulty, self.found = is_faulty, found or (lambda _gradient: torch.empty(4096)[:1] * 0)
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, values: Tensor) -> Tensor:
        return _Scale.apply(values, self.factor, self)


def check_of(model: nn.Module, execution: Execution = BF16, **settings: Any) -> tuple[SelfCheck, Loop]:
    """The check of a training of some random images, and the training."""
    random = np.random.default_rng(0)
    recipe = Training(**{"epochs": 1, "batch_size": 8, "warmup_epochs": 0, **settings})

    def images(count: int) -> Images:
        pixels = random.integers(0, 256, (count, 24, 24, 1), dtype=np.uint8)
        return Images(pixels, np.arange(count) % 2, [str(one) for one in range(count)])

    data = TrainingData(
        batches=TrainingBatches(images(26), recipe, 0, pinned=False),
        validation=images(19),
        classes=2,
        normalisation=Normalisation((0.5,), (0.25,)),
    )
    model = execution.place(model)
    state = TrainingState(
        model=model,
        optimizer=make_optimizer(model, recipe),
        scaler=make_scaler(execution),
        ema=ModelEmaV3(model, decay=recipe.ema_decay) if recipe.ema_decay else None,
        best=BestSoFar(recipe.monitor),
        sums=RunningSums.zero(CPU.torch),
        microbatch=recipe.microbatch,  # type: ignore[arg-type]
    )
    objective = Objective(recipe, data.batches.labels, 2, CPU.torch)
    check = SelfCheck(state=state, recipe=recipe, data=data, objective=objective, is_deterministic=False)
    loop = Loop(
        state=state,
        recipe=recipe,
        seed=0,
        data=data,
        objective=objective,
        execution=execution,
        observer=NullObserver(),
    )
    return check, loop


def checked(*faulty: nn.Module, **settings: Any) -> Checked:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), *faulty, nn.Flatten(), nn.Linear(144, 2))
    return check_of(model, **settings)[0].run(BF16)


@pytest.mark.parametrize("what", ["the values", "zero times the values", "one of them in a million"])
def test_what_nobody_wrote_is_seen_at_once(what: str) -> None:
    """Each time anew: without a pattern of its own, memory has what the last computation left, and both agree."""

    def compute() -> dict[str, Tensor]:
        size = 1_000_000
        unwritten, ones = torch.empty(size), torch.ones(size)
        if what == "zero times the values":
            return {"sum": (ones + 0 * unwritten).sum()}
        return {"sum": ones + unwritten} if what == "the values" else {"sum": ones.sum() + unwritten[size // 2]}

    assert compute_twice(compute, CPU).apart == ("sum",)
    assert compute_twice(lambda: {"sum": torch.empty(1000).fill_(2).sum()}, CPU).is_equal
    assert torch.isfinite(torch.empty(1000).zero_()).all()


def test_a_fault_of_bf16_is_computed_in_float32_and_said() -> None:
    found = checked(Faulty(lambda dtype: dtype is torch.bfloat16))
    assert found.execution.precision is None
    assert found.execution.onednn
    assert found.deviation is None
    assert found.fallback is not None
    assert "computed in float32, because computed twice from one batch in bfloat16, the gradients of " in found.fallback


def test_a_fault_of_onednn_is_computed_by_other_kernels() -> None:
    found = checked(Faulty(lambda _dtype: torch.backends.mkldnn.enabled))
    assert (found.execution.precision, found.execution.onednn) == (None, False)
    assert not torch.backends.mkldnn.enabled
    assert found.fallback is not None
    assert "in float32 without oneDNN" in found.fallback


def test_garbage_everywhere_stops_the_training_and_rounding_makes_it_inexact() -> None:
    with pytest.raises(PermanentFailure, match=r"differ, as in each other way: .* test the memory"):
        checked(Faulty(lambda _dtype: True))
    chance = np.random.default_rng()
    found = checked(Faulty(lambda _dtype: True, lambda _gradient: torch.tensor([chance.uniform(0, 1e-6)])))
    assert found.execution == BF16
    assert found.fallback is None
    assert found.deviation is not None
    assert "differ by rounding" in found.deviation


class Residual(nn.Sequential):
    """Branch whose last factor begins at zero, as in many networks: it hands no gradient on until it has moved."""

    def forward(self, values: Tensor) -> Tensor:
        return values + super().forward(values)


def test_a_fault_behind_a_factor_that_begins_at_zero_is_seen() -> None:
    end = nn.BatchNorm2d(4)
    nn.init.zeros_(end.weight)
    times_garbage = Faulty(
        lambda dtype: dtype is torch.bfloat16,
        lambda gradient: gradient.abs().sum().float() * torch.empty(4096)[:1].nan_to_num(1.0),
    )
    assert checked(Residual(times_garbage, end)).execution.precision is None


@pytest.mark.parametrize("settings", [{}, HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("execution", [BF16, Execution(device=CPU, precision=None, channels_last=False)])
def test_a_training_has_the_bits_that_it_has_without_a_check(settings: dict[str, Any], execution: Execution) -> None:
    torch.set_num_threads(2)
    ends = []
    for is_checked in (False, True):
        torch.manual_seed(0)
        model = timm.create_model(MODEL, num_classes=2, drop_rate=settings.get("dropout", 0.0))
        check, loop = check_of(model, execution, **settings)
        state = check.state
        if is_checked:
            state.model.eval()
            state.model.layer1.train()  # type: ignore[operator]
            before = copy.deepcopy(state.content({})), torch.get_rng_state(), modes(state.model)
            assert check.run(execution) == Checked(execution)
            assert_same(before[0], state.content({}))
            assert torch.equal(before[1], torch.get_rng_state())
            assert before[2] == modes(state.model)
            assert all(parameter.grad is None for parameter in state.model.parameters())
        loop.run()
        ends.append({name: value for name, value in state.content({}).items() if name != "seconds"})
    assert_same(*ends)


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        assert one == other


def test_a_signal_ends_the_check() -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    check, _ = check_of(timm.create_model(MODEL, num_classes=2))
    before = copy.deepcopy(check.state.content({}))
    object.__setattr__(check, "between", stop)
    with pytest.raises(Stop):
        check.run(BF16)
    assert_same(before, check.state.content({}))


def test_a_halved_microbatch_is_checked_before_the_step(study_in: Callable[..., Study]) -> None:
    """In bfloat16, passes of at most four images read unwritten memory here; passes of eight find no memory once."""
    said: list[str] = []
    passes: list[tuple[int, bool]] = []  # images and whether they were computed in bfloat16, of the head's passes

    def refuse(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        is_second_epoch = any("epoch 1/2" in line for line in said)
        if module.training and isinstance(module, nn.Conv2d) and len(inputs[0]) == 8 and is_second_epoch:
            raise torch.OutOfMemoryError("injected")

    def read_unwritten(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if not module.training or not isinstance(module, nn.Linear):
            return None
        passes.append((len(output), output.dtype is torch.bfloat16))
        return output + 0 * torch.empty(4096)[:1].to(output.dtype) if passes[-1] == (4, True) else None

    training = {"epochs": 2, "batch_size": 8, "amp": "bf16", "early_stopping": {"enabled": False}}
    study = study_in(training=training)
    hooks = [
        torch.nn.modules.module.register_module_forward_pre_hook(refuse),
        torch.nn.modules.module.register_module_forward_hook(read_unwritten),
    ]
    try:
        train_cell(Request(study, study.cells()[0], threads=1, attempt=1, say=said.append))
    finally:
        for hook in hooks:
            hook.remove()
    marker = Marker.read(study.cells()[0].marker)
    assert marker is not None
    assert (marker.precision, marker.microbatch, marker.exact) == ("float32", 4, False)
    halved, fallback = marker.exact_reasons
    assert halved.endswith("4 from there on")
    assert fallback.startswith("after the microbatch was halved: computed in float32, because computed twice")
    assert marker.fallback is not None
    # Two passes of the check in bfloat16, of two parts each; from there on only float32, the step replayed included.
    of_four = [is_bfloat16 for images, is_bfloat16 in passes if images == 4]
    assert of_four.index(False) == sum(of_four) == 4


class Unpooled(nn.Module):
    """Network with a layer of which torch has no deterministic version, on a CPU either."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        pooled, places = nn.functional.max_pool2d(images.float(), 2, return_indices=True)
        return self.head(nn.functional.max_unpool2d(pooled, places, 2).mean((2, 3)))


def test_a_kernel_without_determinism_is_said_before_the_start() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        check, loop = check_of(Unpooled())
        found = replace(check, is_deterministic=True).run(BF16)
        assert found.execution == BF16
        assert found.deviation == "torch has no deterministic version of max_unpooling2d_forward_out"
        loop.run()
    finally:
        torch.use_deterministic_algorithms(False)
    assert loop._state.epoch == 1
