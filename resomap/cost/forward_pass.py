"""Workload that is timed: a forward pass of an untrained network on noise, computing as an evaluation does."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.compute.normalisation import in_layout
from resomap.cost import peak_memory


@dataclass(frozen=True)
class Workload:
    """Forward passes of one network at one resolution (pixels), on images that lie on the device already."""

    inference: Inference
    resolution: int

    def on(self, batch: int) -> Callable[[], Tensor]:
        """Return a forward pass of one batch of noise, to be run again and again. Copying images is not part of it."""
        execution = self.inference.execution
        images = torch.randn(batch, 3, self.resolution, self.resolution, device=execution.device.torch)
        return partial(self.inference, in_layout(images, execution.channels_last))

    def held_bytes(self, batch: int) -> int:
        """Return the bytes of the weights and of one batch of images in float32."""
        return peak_memory.size_bytes(self.inference.model) + batch * 3 * self.resolution**2 * 4


def ready_network(model: nn.Module, resolution: int, execution: Execution) -> nn.Module:
    """Return the network on its device, in its memory layout, in eval mode.

    Batch normalisation gets the statistics of two images of noise, in place of mean 0 and variance 1. Left at those,
    the values in a deep network of random weights grow or shrink with every layer (10^-13 behind efficientnet_b0),
    and numbers too small for a float's exponent take a CPU many times as long.
    """
    update_bn([torch.randn(2, 3, resolution, resolution)], model)
    return execution.place(model.eval())
