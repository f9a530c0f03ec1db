"""Forward pass of a network that is measured: untrained, on its device, computing as an evaluation does."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from resomap.compute.device import Device
from resomap.compute.inference import autocast
from resomap.compute.normalisation import in_layout
from resomap.cost import peak_memory


@dataclass(frozen=True)
class Inference:
    """A forward pass without gradients, on images that lie on the device already."""

    model: nn.Module
    resolution: int
    device: Device
    precision: torch.dtype | None
    channels_last: bool

    def on(self, batch: int) -> Callable[[], Tensor]:
        """Return a forward pass of one batch of noise, to be run again and again. Copying images is not part of it."""
        images = torch.randn(batch, 3, self.resolution, self.resolution, device=self.device.torch)
        images = in_layout(images, self.channels_last)

        def run() -> Tensor:
            with torch.inference_mode(), autocast(self.device.torch, self.precision):
                return self.model(images)

        return run

    def held_bytes(self, batch: int) -> int:
        """Return the bytes of the weights and of one batch of images in float32."""
        return peak_memory.size_bytes(self.model) + batch * 3 * self.resolution**2 * 4


def ready_network(model: nn.Module, resolution: int, device: Device, channels_last: bool) -> nn.Module:
    """Return the network on its device, in its memory layout, in eval mode.

    Batch normalisation gets the statistics of two images of noise, in place of mean 0 and variance 1. Left at those,
    the values in a deep network of random weights grow or shrink with every layer (10^-13 behind efficientnet_b0),
    and numbers too small for a float's exponent take a CPU many times as long.
    """
    update_bn([torch.randn(2, 3, resolution, resolution)], model)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return model.eval().to(device.torch, memory_format=layout)  # type: ignore[call-overload]
