"""Costs as on a GPU: half precision and channels last under a CUDA graph, by a stand-in that needs no GPU."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MODEL, small_config
from graph_stand_in import StandIn
from torch import Tensor

from resomap.cells.measurement import EAGER, Measurement
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.cost import measure
from resomap.cost.forward_pass import GRAPH, EagerPass, GraphPass, ready_network
from resomap.cost.session import measure_together
from resomap.models.build import construct
from resomap.models.survey import entry_of
from resomap.train import step_graph
from resomap.train.step_graph import Work

QUICK = {"seconds": 0.2, "least_runs": 2, "largest_batch": 2}
CPU = Device(torch.device("cpu"), "CPU")


class Watched(StandIn):
    """Stand-in that notes the form of what is recorded."""

    forms: list[Tensor] = []

    def record(self, work: Work) -> Sequence[Tensor]:
        results = super().record(work)
        type(self).forms += list(results)
        return results


class Refusing(StandIn):
    """Graph of a device that cannot capture a network: one that reads a value in between, say."""

    def record(self, work: Work) -> Sequence[Tensor]:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[StandIn]], None]]:
    """Has the CPU record by a stand-in."""
    for kind in (StandIn, Watched):
        kind.recorded = kind.replayed = 0
    Watched.forms = []
    return lambda kind: monkeypatch.setattr(step_graph, "recording_on", lambda _device: kind)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path) -> Callable[..., dict[str, Any]]:
    """Content of a measurement of the ways of a GPU, on the CPU."""

    def make(**cost: Any) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        study = Study.open(small_config(images, cost={**QUICK, "runtimes": ["torch"], **cost}))
        ways = study.config.cost.ways("cuda")
        monkeypatch.setattr(type(study.config.cost), "ways", lambda _self, _kind: ways)
        one = Measurement(MODEL, 32, "cpu")
        return measure_together([one], study, 2, 1, 10**10)[one]

    return make


def test_a_gpu_is_measured_in_half_precision_under_a_graph(
    graphs: Callable[..., None], measured: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs(Watched)
    placed: list[Tensor] = []

    class Noting(GraphPass):
        def _images(self, batch: int) -> Tensor:
            images = super()._images(batch)
            placed.extend([images, next(self.inference.model.parameters())])
            return images

    monkeypatch.setattr(measure, "GraphPass", Noting)
    content = measured()
    assert (content["runtime"], content["precision"], content["channels_last"]) == (GRAPH, "float16", True)
    assert content["latency_ms_median"] > 0
    assert content["throughput_images_per_second_median"] > 0
    assert content["end_to_end_ms_median"] > content["latency_ms_q1"]
    assert content["reasons"] == {}
    assert {one.dtype for one in [*placed, *Watched.forms]} == {torch.float16}
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in placed)
    tried = [1] if content["best_batch_limit"] == "time" else [1, 2]  # on a busy machine
    assert {tuple(one.shape) for one in Watched.forms} == {(batch, 2) for batch in tried}
    timed = content["latency_runs"] + content["end_to_end_runs"]
    assert Watched.replayed > timed, "each timed run is a replay, and so is each of the warm-up"


def test_what_cannot_be_captured_is_eager_with_the_reason(
    graphs: Callable[..., None], measured: Callable[..., dict[str, Any]]
) -> None:
    graphs(Refusing)
    content = measured()
    assert (content["runtime"], content["precision"]) == (EAGER, "float16")
    assert "not permitted when stream is capturing" in content["reasons"]["cuda graph"]
    assert content["latency_ms_median"] > 0


def network_pass(kind: type[EagerPass], dtype: torch.dtype) -> EagerPass:
    torch.manual_seed(0)
    network = ready_network(construct(entry_of(MODEL), 32, 5), 32).to(dtype)
    execution = Execution(device=CPU, precision=None, channels_last=True)
    return kind(Inference(execution.place(network), execution), 32)


def test_a_replayed_graph_answers_the_image_that_it_is_given(graphs: Callable[..., None]) -> None:
    """Two images, one after the other, by one graph: each has the answer of the eager pass."""
    graphs(StandIn)
    eager, graph = (network_pass(kind, torch.float32).classifier() for kind in (EagerPass, GraphPass))
    random = np.random.default_rng(1)
    for _ in range(2):
        image = random.standard_normal((1, 3, 32, 32)).astype(np.float32)
        assert graph(image) == pytest.approx(eager(image), abs=1e-5)
    assert (StandIn.recorded, StandIn.replayed) == (1, 2)


def test_a_pass_is_captured_anew_for_each_batch_and_only_replayed_in_its_runs(graphs: Callable[..., None]) -> None:
    graphs(StandIn)
    one = network_pass(GraphPass, torch.bfloat16)
    for number, batch in enumerate((1, 2), 1):
        run = one.on(batch)
        assert StandIn.recorded == number
        for _ in range(3):
            output = run()
        assert isinstance(output, Tensor)
        assert output.shape == (batch, 5)
        assert output.dtype == torch.bfloat16
        assert output.float().abs().sum() > 0, "a graph that was not launched has computed nothing"
    assert (StandIn.recorded, StandIn.replayed) == (2, 6)


def test_a_device_without_graphs_records_none() -> None:
    with pytest.raises(RuntimeError, match="cpu has no graphs"):
        network_pass(GraphPass, torch.float32).on(1)
    assert step_graph.recording_on(CPU.torch) is None
