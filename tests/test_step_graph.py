"""`training.graphs`: recorded steps, with a stand-in for CUDA graphs that needs no GPU (`graph_stand_in.py`)."""

import gc
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import MODEL, environment_with, trainer
from endings import End, assert_same_bits, last
from graph_stand_in import StandIn
from test_self_check import BF16, HARD, check_of
from torch import Tensor, nn
from waiting import wait_for

from resomap.cells import graph_choice
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed, on_cpu
from resomap.core.errors import Diverged
from resomap.core.files import read_json
from resomap.train import step_graph
from resomap.train.gradients import GradientPass
from resomap.train.graph_search import OTHER_BITS, choose_graphs, is_worth_it
from resomap.train.loop import Loop
from resomap.train.self_check import SelfCheck
from resomap.train.state import TrainingState
from resomap.train.step_graph import GraphPass

FLOAT = replace(BF16, precision=None)
HALF = replace(BF16, precision=torch.float16)
CASES: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 2},
    "hard": {"epochs": 2, **HARD},
    "parts of several sizes": {"microbatch": 5, "dropout": 0.2},
    "frozen first": {"epochs": 2, "freeze_epochs": 1},
}


recording_on = step_graph.recording_on


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(step_graph, "recording_on", lambda _device: StandIn)
    StandIn.recorded = StandIn.replayed = 0
    return


def training(execution: Any = FLOAT, replays: bool = False, **settings: Any) -> tuple[SelfCheck, Loop]:
    torch.manual_seed(0)
    model = timm.create_model(MODEL, num_classes=2, drop_rate=settings.get("dropout", 0.0))
    check, loop = check_of(model, execution, **settings)
    if replays:
        check.state.graphs = True
        loop = Loop(
            state=check.state,
            recipe=check.recipe,
            seed=0,
            data=check.data,
            objective=check.objective,
            execution=execution,
            observer=loop._observer,
        )
    return check, loop


def content(state: TrainingState) -> dict[str, Any]:
    found = on_cpu({**state.content({}), "graphs": None, "seconds": None})
    assert isinstance(found, dict)
    return found


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_have_the_bits_of_plain_ones(case: str) -> None:
    ends = []
    for replays in (False, True):
        check, loop = training(replays=replays, **CASES[case])
        loop.run()
        ends.append(content(check.state))
    assert same(*ends)
    steps = check.data.batches.steps * check.recipe.epochs
    assert StandIn.replayed == steps
    assert StandIn.recorded == (2 if case == "frozen first" else 1)


def test_float16_and_its_scaler() -> None:
    """The first losses overflow, so that steps are left out and the scale falls."""
    ends = []
    for replays in (False, True):
        check, loop = training(HALF, replays=replays)
        loop.run()
        ends.append(content(check.state))
    assert same(*ends)
    assert StandIn.replayed


def recorded(check: SelfCheck) -> tuple[GradientPass, GraphPass]:
    plain = check.data.gradient_pass(check.recipe, check.objective, FLOAT)
    assert isinstance(plain, GradientPass)
    return plain, GraphPass(plain, StandIn, check.data.batches.batch_size)


def test_warm_up_leaves_no_trace() -> None:
    """With a step behind it, so that there is state: weights, statistics, moments, scale and random draws."""
    check, loop = training(HALF, dropout=0.2)
    batches = check.data.batches.epoch(0)
    loop._step(next(batches))
    state, batch = check.state, next(batches)
    plain, graph = recorded(check)
    before = content(state)
    torch.manual_seed(7)
    graph._graph = step_graph._StepGraph(plain, StandIn(), state.model, state.scaler, plain.inputs(batch), None)
    assert same(before, content(state))
    assert all(parameter.grad is None for parameter in state.model.parameters())


def test_a_smaller_batch_runs_apart() -> None:
    check, _ = training(dropout=0.2)
    whole = check.data.batches.first()
    cut = {name: getattr(whole, name)[:5] for name in ("pixels", "labels", "draws", "seeds", "rows")}
    smaller = replace(whole, **cut)
    plain, graph = recorded(check)
    answers: list[list[Any]] = []
    buffers = {name: values.clone() for name, values in check.state.model.named_buffers()}
    for each in (plain, graph):
        with torch.no_grad():
            for name, values in check.state.model.named_buffers():
                values.copy_(buffers[name])
        answers.append([])
        for seed, batch in enumerate((smaller, whole, smaller, whole)):
            torch.manual_seed(seed)
            answers[-1] += each.accumulate(check.state.model, check.state.scaler, batch, None)
            answers[-1] += [parameter.grad for parameter in check.state.model.parameters()]
            answers[-1] = on_cpu(answers[-1])
            check.state.model.zero_grad(set_to_none=True)
    assert same(*answers)
    assert (StandIn.recorded, StandIn.replayed) == (1, 2)


def test_out_of_memory_drops_the_graph() -> None:
    check, loop = training(replays=True)
    batches = check.data.batches.epoch(0)
    loop._step(next(batches))
    assert isinstance(loop._pass, GraphPass)
    graph = weakref.ref(loop._pass)

    def refuse(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if isinstance(module, nn.Conv2d) and len(inputs[0]) > 4:
            raise torch.OutOfMemoryError("injected")

    hook = nn.modules.module.register_module_forward_pre_hook(refuse)
    try:
        loop._step(next(batches))
    finally:
        hook.remove()
    gc.collect()
    assert graph() is None
    assert (check.state.microbatch, check.state.graphs) == (4, False)
    assert "out of memory with 8 images" in check.state.deviations[0]


def test_a_loss_that_is_not_finite_is_that_of_its_own_step() -> None:
    """It is looked at one step later, when the graph has written the next loss."""
    check, loop = training(replays=True)
    true = check.data.batches.epoch
    weight = next(check.state.model.parameters())

    def broken(epoch: int, first: int = 0) -> Iterator[Any]:
        for number, batch in enumerate(true(epoch, first)):
            if number == 1:
                kept = weight.detach().clone()
                weight.data.fill_(torch.nan)
            yield batch
            if number == 1:
                weight.data.copy_(kept)

    check.data.batches.epoch = broken  # type: ignore[method-assign]
    with pytest.raises(Diverged, match="at epoch 1, step 2"):
        loop.run()


class Frozen(nn.Module):
    """Layer whose draw is made by Python: a graph repeats the first one for ever."""

    def __init__(self, rounds_only: bool) -> None:
        super().__init__()
        self.rounds_only, self.calls = rounds_only, 0

    def forward(self, values: Tensor) -> Tensor:
        self.calls += 1
        if self.calls <= 6:  # the pass that records, and the plain one
            return values
        return values * (1 + 2e-7) if self.rounds_only else values * 2


@pytest.mark.parametrize("bits", ["the same", "rounded otherwise", "others"])
@pytest.mark.parametrize("deterministic", [False, True])
def test_the_bits_decide(bits: str, deterministic: bool, study_in: Callable[..., Study]) -> None:
    study = study_in(training={"graphs": "auto"})
    graph_choice.write(study, MODEL, {"graphs": True})
    torch.manual_seed(0)
    layers = [] if bits == "the same" else [Frozen(bits == "rounded otherwise")]
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), *layers, nn.Flatten(), nn.Linear(144, 2))
    check, _ = check_of(model, FLOAT, graphs="auto")
    said: list[str] = []
    choose_graphs(study, study.cells()[0], replace(check, is_deterministic=deterministic), FLOAT, said.append)
    assert check.state.graphs is (bits == "the same" or (bits == "rounded otherwise" and not deterministic))
    assert check.state.deviations == ([OTHER_BITS] if bits == "rounded otherwise" and not deterministic else [])
    assert len(said) == 1


def test_the_choice_is_made_once_a_model(study_in: Callable[..., Study]) -> None:
    study = study_in(training={"graphs": "auto"}, resolutions=[32, 48])
    said: list[str] = []
    for _ in range(2):
        choose_graphs(study, study.cells()[1], training(graphs="auto")[0], FLOAT, said.append)
    found = read_json(graph_choice.path_of(MODEL))
    assert found["resolution"] == 32
    assert found["graphs"] is is_worth_it(found["plain"], found["recorded"])
    assert sum(line.startswith(f"recorded steps of {MODEL}") for line in said) == 1
    graph_choice.write(study, MODEL, {"graphs": False})
    check = training(graphs="auto")[0]
    choose_graphs(study, study.cells()[1], check, FLOAT, said.append)
    assert not check.state.graphs


@pytest.mark.parametrize("at_once", [True, False], ids=["in the search", "in a training's check"])
def test_what_cannot_be_recorded_runs_plain(at_once: bool, study_in: Callable[..., Study]) -> None:
    study = study_in(training={"graphs": "auto"})
    if not at_once:
        graph_choice.write(study, MODEL, {"graphs": True})

    class Refusing(StandIn):
        def record(self, work: step_graph.Work) -> Any:
            work()
            raise RuntimeError("operation not permitted when stream is capturing")

    step_graph.recording_on = lambda _device: Refusing  # the fixture puts it back
    said: list[str] = []
    check, _ = training(graphs="auto")
    before = content(check.state)
    choose_graphs(study, study.cells()[0], check, FLOAT, said.append)
    assert "operation not permitted" in said[0]
    assert same(before, content(check.state))
    assert not check.state.graphs
    assert graph_choice.read(study, MODEL) is False


def test_a_cpu_has_no_graphs() -> None:
    assert recording_on(torch.device("cpu")) is None
    assert recording_on(torch.device("cuda")) is step_graph.CudaRecording


def test_a_gain_of_a_twentieth_is_worth_it() -> None:
    assert is_worth_it(1.0, 0.95)
    assert not is_worth_it(1.0, 0.96)


@pytest.mark.slow
def test_kill_9_keeps_the_graph_and_the_bits(study_in: Callable[..., Study], tmp_path: Path) -> None:
    """The whole one has plain steps; the killed one goes on with recorded ones, though the configuration forgets."""
    settings = {"epochs": 4, "batch_size": 8, "dropout": 0.2, "augment": {"scale": 0.6}, "ema_decay": 0.9}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, training=settings)
    assert trainer(f"{MODEL}@32", whole).wait(timeout=120) == 0
    study = study_in(killed, training={**settings, "graphs": "auto"}, checkpoints={"every_minutes": 0})
    graph_choice.write(study, MODEL, {"graphs": True})

    def start() -> "subprocess.Popen[str]":
        script = str(Path(__file__).parent / "graph_stand_in.py")
        words = [sys.executable, script, "train", f"{MODEL}@32", "--threads", "1"]
        return subprocess.Popen(words, cwd=killed, env=environment_with(), stdin=subprocess.DEVNULL, text=True)

    process, started = start(), time.time()
    wait_for(lambda: last(killed).exists() and last(killed).stat().st_mtime > started)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_sealed(last(killed))["graphs"] is True
    study_in(killed, training=settings, checkpoints={"every_minutes": 0})
    assert start().wait(timeout=120) == 0
    one, other = End.of(whole), End.of(killed)
    assert_same_bits(one, other)
    assert (one.marker["graphs"], other.marker["graphs"]) == (False, True)
    assert one.marker["fingerprint"] == other.marker["fingerprint"]
    assert other.marker["exact"] is True
