"""No cell is lost to a figure: what cannot be counted is null with its reason, in plan, marker and cost table."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, RESOLUTION
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from resomap.cells.marker import Marker
from resomap.cells.measurement import Measurement
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.cost.session import measure_together
from resomap.models.build import build_model, construct, logits
from resomap.models.operations import count_operations, try_count
from resomap.models.probe import size_or_reason
from resomap.models.survey import entry_of
from resomap.train.attempt import train_cell
from resomap.train.request import Request

ROOT = Path(__file__).parents[1]
REASON = "this network is not to be counted"


@pytest.fixture
def uncountable() -> Iterator[None]:
    """Every network refuses to be counted, as some do whose forward pass looks at values; all else they compute."""

    def refuse(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if type(_get_current_dispatch_mode()).__name__ == "_FlopCounterMode":
            raise NotImplementedError(REASON)

    hook = register_module_forward_pre_hook(refuse)
    yield
    hook.remove()


@pytest.mark.parametrize("name", ["pit_ti_224", "cait_xxs24_224", "vit_base_patch16_siglip_gap_224"])
def test_networks_that_pass_on_a_view_of_a_parameter_are_counted(name: str) -> None:
    """Torch's own tracker of modules fails on them, unless no parameter requires gradients."""
    with torch.device("meta"):
        network = construct(entry_of(name), 64, 2)
    found = count_operations(network, 64)
    network.requires_grad_(False)
    assert count_operations(network, 64) == found
    assert found.flops > 1e6


@pytest.mark.usefixtures("uncountable")
def test_a_network_that_cannot_be_counted_trains_to_its_marker(study_in: Callable[..., Study]) -> None:
    study, said = study_in(training={"epochs": 1}), list[str]()
    cell = study.cells()[0]
    train_cell(Request(study, cell, threads=1, attempt=1, say=said.append))
    marker = Marker.read(cell.marker)
    assert marker is not None
    assert marker.cost.flops is None
    assert marker.cost.reasons == {"flops": REASON}
    assert marker.cost.params
    assert any(REASON in sentence for sentence in said)
    measurement = Measurement(MODEL, RESOLUTION, "cpu")
    cost = measure_together([measurement], study, 2, 1, 10**10)[measurement]
    assert cost["flops"] is None
    assert cost["reasons"] == {"flops": REASON}
    assert cost["latency_ms_median"] > 0


@pytest.mark.usefixtures("uncountable")
def test_the_plans_answer_says_why_nothing_was_counted() -> None:
    size = size_or_reason(entry_of(MODEL), RESOLUTION)
    assert isinstance(size, dict)
    assert size["reason"] == REASON
    assert size["flops"] is size["activations"] is None
    assert size["weights"]
    assert try_count(construct(entry_of(MODEL), 32, 2), 32) == REASON


@pytest.mark.parametrize("resolution", [64, 224, 240])
def test_a_network_that_scales_its_images_takes_any_size(resolution: int) -> None:
    """Plain timm builds crossvit for 240 px, and it scales other images to that."""
    network = construct(entry_of("crossvit_tiny_240"), resolution, 2)
    images = torch.rand(2, 3, resolution, resolution)
    scores: Tensor = logits(network(images))
    assert scores.shape == (2, 2)
    assert not torch.equal(scores[0], scores[1])


def test_a_network_whose_layers_have_versions_trains_and_resumes(study_in: Callable[..., Study]) -> None:
    """Plain tensors lack the versions: mnasnet trained all its epochs, and then refused its best weights."""
    study = study_in(training={"epochs": 1})
    cell = study.cell("mnasnet0_5", 32)
    train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
    best = load_sealed(cell.checkpoints / "best.pt")["model"]
    network = build_model("mnasnet0_5", 32, 2, weights=str(cell.checkpoints / "best.pt")).model
    with pytest.raises(ValueError, match="version should be set to 1 or 2"):
        network.load_state_dict(dict(best))
    assert all(torch.equal(values, best[name]) for name, values in network.state_dict().items())


@pytest.mark.slow
def test_a_piece_of_the_survey(tmp_path: Path) -> None:
    """The whole of it is `python -m benchmarks.survey`, which takes hours."""
    command = [sys.executable, "-m", "benchmarks.survey", "--worker"]
    done = subprocess.run(command, input=json.dumps([MODEL, "vgg11"]), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["outcome"] for row in rows] == ["trained"] * 3 + ["planned"] * 3
