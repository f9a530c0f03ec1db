"""Adaptive average pooling with a deterministic gradient: torch's values to the bit, its gradients to rounding."""

import pytest
import torch
from torch import nn

from resomap.compute.deterministic_pooling import DeterministicPooling, use_deterministic_pooling
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.models.build import build_model

SIZES = [1, 2, 3, 5, 7, 8, 10, 12, 14, 16, 21, 31]


@pytest.mark.parametrize("pooled", [1, 2, 3, 7, (7, 7), (3, 5), (None, 4)])
def test_values_and_gradients_are_those_of_torch(pooled: int | tuple[int | None, int]) -> None:
    torch.manual_seed(0)
    for height in SIZES:
        for width in (height, 9, 16):
            images = torch.randn(2, 3, height, width)
            ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
            found, expected = DeterministicPooling(pooled)(ours), nn.AdaptiveAvgPool2d(pooled)(theirs)
            assert torch.equal(found, expected)
            weights = torch.randn_like(expected)
            (found * weights).sum().backward()
            (expected * weights).sum().backward()
            assert ours.grad is not None
            assert theirs.grad is not None
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_values() -> None:
    images = torch.randn(2, 2, 5, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(DeterministicPooling((3, 7)), images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precisions_keep_their_type(dtype: torch.dtype) -> None:
    images = torch.randn(2, 4, 16, 16).to(dtype, memory_format=torch.channels_last).requires_grad_()
    pooled = DeterministicPooling(7)(images)
    pooled.backward(torch.ones_like(pooled))
    assert images.grad is not None
    assert pooled.dtype == images.grad.dtype == dtype
    torch.testing.assert_close(images.grad.float().sum(), torch.tensor(2 * 4 * 49.0), rtol=0.01, atol=0)


def test_only_poolings_to_more_than_one_cell_are_exchanged() -> None:
    vgg, resnet = (build_model(name, 32, 2).model for name in ("vgg11", "resnet18"))
    names = set(vgg.state_dict())
    use_deterministic_pooling(vgg)
    assert isinstance(vgg.avgpool, DeterministicPooling)
    assert set(vgg.state_dict()) == names
    assert type(use_deterministic_pooling(resnet).avgpool) is nn.AdaptiveAvgPool2d


def test_a_processor_keeps_the_pooling_of_torch() -> None:
    cpu = Execution(device=Device(torch.device("cpu"), "cpu"), precision=None, channels_last=True)
    torch.use_deterministic_algorithms(True)
    try:
        placed = cpu.place(nn.Sequential(nn.AdaptiveAvgPool2d(7)))
    finally:
        torch.use_deterministic_algorithms(False)
    assert type(placed[0]) is nn.AdaptiveAvgPool2d
