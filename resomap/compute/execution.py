"""The way a network computes: device, mixed precision and memory layout, the same in training and evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from resomap.compute.deterministic_pooling import use_deterministic_pooling
from resomap.compute.device import Device, precision


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Device, precision and memory layout of one network's forward passes."""

    device: Device
    precision: torch.dtype | None  # of mixed precision; None: plain float32
    channels_last: bool  # memory layout of weights and images
    onednn: bool = True  # on a CPU: kernels of oneDNN (once MKL-DNN) and not torch's own, several times slower ones

    @classmethod
    def of(cls, device: Device, amp: str, channels_last: bool) -> "Execution":
        """Choose the precision by `training.amp` (`auto`, `bf16`, `fp16`, `off`) and what the device supports."""
        return cls(device=device, precision=precision(amp, device), channels_last=channels_last)

    @classmethod
    def of_saved(cls, saved: Mapping[str, Any], device: Device, channels_last: bool) -> "Execution":
        """Return the way that a checkpoint's training computed in (see `saved`)."""
        name = saved["precision"]
        dtype = getattr(torch, name) if name else None
        onednn = saved.get("onednn", True)  # which checkpoints of earlier versions do not have
        return cls(device=device, precision=dtype, channels_last=channels_last, onednn=onednn)

    def saved(self) -> dict[str, Any]:
        """Return what a checkpoint says of this way of computing."""
        return {"precision": self.precision_name if self.precision else None, "onednn": self.onednn}

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device and into the memory layout; returns it.

        On a GPU with `deterministic: true` a pooling whose gradient has no deterministic kernel there is exchanged.
        """
        if self.device.is_cuda and torch.are_deterministic_algorithms_enabled():
            use_deterministic_pooling(model)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return model.to(self.device.torch, memory_format=layout)  # type: ignore[call-overload]

    def activate(self) -> None:
        """Choose the kernels of this process's forward and backward passes."""
        torch.backends.mkldnn.set_flags(_enabled=self.onednn)

    @property
    def precision_name(self) -> str:
        """Name of the precision as torch has it: float32, bfloat16 or float16."""
        return str(self.precision or torch.float32).removeprefix("torch.")

    @property
    def words(self) -> str:
        """Precision and kernels for a person: `in bfloat16`."""
        return f"in {self.precision_name}{'' if self.onednn else ' without oneDNN'}"

    def autocast(self) -> torch.autocast:
        """A context of mixed precision for one forward pass; it changes nothing where `precision` is None."""
        return torch.autocast(
            self.device.torch.type, dtype=self.precision or torch.bfloat16, enabled=self.precision is not None
        )
