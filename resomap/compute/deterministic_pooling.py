"""Adaptive average pooling whose gradient has a deterministic kernel on a GPU: averaging matrices, multiplied.

torch's `adaptive_avg_pool2d_backward_cuda` adds with atomic operations, in any order, and raises under
`torch.use_deterministic_algorithms(True)` (pytorch/pytorch#50198). The VGG networks pool to 7 x 7 by it; pooling to
1 x 1, as in most others, is a mean and needs nothing. The forward pass stays torch's own, to the bit.
"""

from typing import Any

import torch
from torch import Tensor, nn


def averaging_matrix(size: int, pooled: int, like: Tensor) -> Tensor:
    """Return float [pooled, size]: row i averages the cells from floor(i * size / pooled) to ceil((i + 1) * ...)."""
    cells = torch.arange(size, device=like.device)
    rows = torch.arange(pooled, device=like.device)[:, None]
    begins, ends = rows * size // pooled, ((rows + 1) * size + pooled - 1) // pooled
    return ((cells >= begins) & (cells < ends)).to(like.dtype) / (ends - begins).to(like.dtype)


class _Pooling(torch.autograd.Function):
    """Function of torch's forward pass and a gradient by two matrix products."""

    @staticmethod
    def forward(images: Tensor, pooled: Any) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, pooled)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.size = inputs[0].shape[-2:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # Sums of a half precision are rounded once, at the end.
        exact = gradient.float() if gradient.dtype in (torch.float16, torch.bfloat16) else gradient
        down, across = (
            averaging_matrix(size, pooled, exact) for size, pooled in zip(ctx.size, gradient.shape[-2:], strict=True)
        )
        return (down.T @ exact @ across).to(gradient.dtype), None


class DeterministicPooling(nn.Module):
    """Adaptive average pooling of [..., H, W], with the one argument of `nn.AdaptiveAvgPool2d`; no weights either."""

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, images: Tensor) -> Tensor:
        """Pool images [N, C, H, W] to [N, C, *output_size]."""
        pooled: Tensor = _Pooling.apply(images, self.output_size)
        return pooled


def use_deterministic_pooling(model: nn.Module) -> nn.Module:
    """Exchange a network's adaptive average poolings to more than one cell; returns it. Names of weights stay."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.AdaptiveAvgPool2d and child.output_size not in (1, (1, 1)):
                setattr(module, name, DeterministicPooling(child.output_size))
    return model
