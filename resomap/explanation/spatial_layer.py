"""Last layer of a network whose output still has places in the image, found by a forward pass with hooks.

Of convolutional networks that is the last feature map before the pooling; of transformers the tokens that go into the
last attention, set out as a map (those that go out of it have no gradient where a class token alone is read).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.models.index import COLOURS

Layout = Literal["channels first", "channels last", "tokens"]


@dataclass(frozen=True)
class SpatialLayer:
    """A module of a network by its name, how its output is laid out, and the tokens before those of the image."""

    name: str
    layout: Layout = "channels first"
    prefix: int = 0

    @contextmanager
    def as_map(self, network: nn.Module) -> Iterator[nn.Module]:
        """Give a module of the network whose output is a map [N, C, h, w], while the block runs."""
        layer = network.get_submodule(self.name)
        if self.layout == "channels first":
            yield layer
            return
        places = _ToMap(self.layout, self.prefix)
        parent, _, child = self.name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Sequential(layer, places, _FromMap(places)))
        try:
            yield places
        finally:
            setattr(network.get_submodule(parent), child, layer)


def spatial_layer(network: nn.Module, model: str, resolution: int, channels: int = COLOURS) -> SpatialLayer:
    """Return the layer of a network in eval mode. Raises ResomapError where none has places."""
    prefix = int(getattr(network, "num_prefix_tokens", 1 if hasattr(network, "class_token") else 0))
    has_channels_last = getattr(network, "output_fmt", None) == "NHWC"
    maps: list[str] = []
    tokens: list[str] = []

    def look(name: str, module: nn.Module, output: Any) -> None:
        if not isinstance(output, Tensor) or "Pool" in type(module).__name__:
            return
        shape = output.shape
        if len(shape) == 4 and min(shape[1:3] if has_channels_last else shape[2:]) > 1:
            maps.append(name)
        elif len(shape) == 3 and isinstance(module, nn.LayerNorm) and _side(shape[1] - prefix) > 1:
            tokens.append(name)

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: look(name, module, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        parameter = next(network.parameters())
        with torch.inference_mode():
            size = (1, channels, resolution, resolution)
            network(torch.zeros(size, device=parameter.device, dtype=parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    into_attention = [name for name in tokens if name.rpartition(".")[2] in ("norm1", "ln_1", "norm")]
    if into_attention and len(tokens) > 2:
        inside = [name for name in into_attention if "." in name]
        return SpatialLayer((inside or into_attention)[-1], "tokens", prefix)
    if not maps:
        raise ResomapError(
            f"{model} has no layer with places in the image at {resolution} px, so there is no map of what it saw; "
            "explain a larger resolution, or a model that keeps a feature map"
        )
    return SpatialLayer(maps[-1], "channels last" if has_channels_last else "channels first")


def _side(tokens: int) -> int:
    """Return the side of the square that so many tokens are, or 0 where they are none."""
    side = math.isqrt(max(0, tokens))
    return side if side * side == tokens else 0


class _ToMap(nn.Module):
    """Layer that lays out tokens, or a map with its channels last, as a map [N, C, h, w]."""

    def __init__(self, layout: Layout, prefix: int) -> None:
        super().__init__()
        self.layout, self.prefix = layout, prefix
        self.before: Tensor | None = None  # tokens before those of the image

    def forward(self, output: Tensor) -> Tensor:
        """Return the map; keep what does not belong to it."""
        if self.layout == "channels last":
            return output.permute(0, 3, 1, 2)
        self.before = output[:, : self.prefix]
        inside = output[:, self.prefix :].transpose(1, 2)
        side = _side(inside.shape[2])
        return inside.reshape(*inside.shape[:2], side, side)


class _FromMap(nn.Module):
    """Layer that undoes a `_ToMap`."""

    def __init__(self, other: _ToMap) -> None:
        super().__init__()
        self._other = [other]  # in a list, so that it is no submodule

    def forward(self, places: Tensor) -> Tensor:
        """Return the output as the network had it."""
        (other,) = self._other
        if other.layout == "channels last":
            return places.permute(0, 2, 3, 1)
        assert other.before is not None
        return torch.cat([other.before, places.flatten(2).transpose(1, 2)], dim=1)
