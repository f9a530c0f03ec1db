"""Environment of a training: what must stay the same across an interruption for the same bits, and what differs."""

from collections.abc import Mapping
from importlib.metadata import version

import torch

from resomap.compute.device import Device


def environment(device: Device) -> dict[str, str]:
    """Return the package versions, device and instruction set of this process."""
    return {
        **{package: version(package) for package in ("torch", "torchvision", "timm")},
        "device": device.name,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def deviations(before: Mapping[str, str], now: Mapping[str, str], device: Device, deterministic: bool) -> list[str]:
    """Return the reasons why a training begun under `before` cannot end with the same bits under `now`, if any."""
    found = [
        f"resumed with {name} {now[name]} after {before.get(name)}" for name in now if before.get(name) != now[name]
    ]
    if device.is_cuda and not deterministic:
        found.append("resumed on a GPU without `deterministic: true`")
    return found
