"""Theoretical cost of a network, the same on every device: parameters, FLOPs, activations, size of its weights."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from resomap.models.build import first_line
from resomap.models.index import COLOURS

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Operations:
    """Counts of one forward pass, per image unless noted."""

    flops: int  # a multiply-add counts as two; convolutions and matrix products, as published tables do
    activations: int  # elements that those operations write (Radosavovic et al. 2020, section 3.2)


def count_operations(model: nn.Module, resolution: int, channels: int = COLOURS) -> Operations:
    """Count the operations of a forward pass of one image [1, channels, resolution, resolution] in eval mode, float32.

    One pass is computed, on the model's device (for nothing on the meta device). The model's mode stays as it was.
    Raises whatever the network raises for a size that it does not take.
    """
    return counted(lambda: one_pass(model, resolution, channels))[0]


def one_pass(model: nn.Module, resolution: int, channels: int = COLOURS) -> Any:
    """Return what the network makes of one image of zeros, in eval mode and float32; its mode stays as it was."""
    parameter = next(model.parameters())
    image = torch.zeros(1, channels, resolution, resolution, device=parameter.device, dtype=parameter.dtype)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return model(image)
    finally:
        model.train(was_training)


def try_count(model: nn.Module, resolution: int, channels: int = COLOURS) -> Operations | str:
    """Count as `count_operations` does; return the reason where that fails, because no training hangs on a figure."""
    try:
        return count_operations(model, resolution, channels)
    except Exception as error:  # of the counter, of the network or of the device: whatever it is, it is told
        return first_line(error)


def counted(run: Callable[[], Answer]) -> tuple[Operations, Answer]:
    """Count the operations that `run` computes without gradients; return counts and answer.

    Counts are of all that `run` computes, however many images. Raises what `run` raises.
    """
    elements = FlopCounterMode(display=False, custom_mapping=dict.fromkeys(flop_registry, _written))
    counter = FlopCounterMode(display=False)
    elements.mod_tracker = counter.mod_tracker = _WholeNetwork()  # type: ignore[assignment]
    with _in_plain_operations(), elements, counter:
        answer = run()
    return Operations(int(counter.get_total_flops()), int(elements.get_total_flops())), answer


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters, which a training changes; batch norm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in model.parameters())


def weights_bytes(model: nn.Module) -> int:
    """Return the bytes of the file that `torch.save(model.state_dict(), ...)` writes. Nothing is written."""
    sink = _Sink()
    torch.save(model.state_dict(), sink)  # type: ignore[arg-type]
    return sink.size


class _WholeNetwork:
    """Tracker of modules for a counter that wants one sum, in place of torch's (`torch.utils.module_tracker`).

    Torch's hooks the gradient of whatever a module is given, and fails where that is a view of a parameter, as the
    class token of pit, cait and about ninety more of timm's networks.
    """

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        """Do nothing: there is no module to follow."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class _Sink:
    """A file that only counts its bytes: the largest networks need not fit into memory twice."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, content: bytes) -> int:
        self.size += len(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: no byte waits."""


def _written(*_: Any, out_shape: Sequence[Any], **__: Any) -> int:
    """Return the number of elements that an operation writes, into its output or the first of several."""
    return math.prod(out_shape if isinstance(out_shape[0], int) else out_shape[0])


@contextmanager
def _in_plain_operations() -> Iterator[None]:
    """Compute attention by its matrix products: a fused kernel differs by device, and the counter misses some of them.

    torchvision's vit_b_16 comes to 11.3 in place of its published 17.6 GMACs where a CPU takes its fast path.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
