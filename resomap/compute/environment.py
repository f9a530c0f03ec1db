"""Environment of a training: what must stay the same across an interruption for the same bits, and what differs."""

from collections.abc import Mapping
from importlib.metadata import version

import torch

from resomap.compute.compilation import compiler
from resomap.compute.device import Device


def environment(device: Device, is_compiled: bool = False) -> dict[str, str]:
    """Return the package versions, device and instruction set of this process.

    `is_compiled`: with the compiler. Raises PermanentFailure where there is none.
    """
    return {
        **{package: version(package) for package in ("torch", "torchvision", "timm")},
        "device": device.name,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        **({"compiler": compiler(device)} if is_compiled else {}),
    }


def deviations(before: Mapping[str, str], now: Mapping[str, str], device: Device, deterministic: bool) -> list[str]:
    """Return the reasons why a training begun under `before` cannot end with the same bits under `now`, if any."""
    found = [
        f"resumed with {name} {now[name]} after {before.get(name)}" for name in now if before.get(name) != now[name]
    ]
    if device.is_cuda and not deterministic:
        found.append("resumed on a GPU without `deterministic: true`")
    elif device.is_cuda and "compiler" in now:
        found.append("resumed on a GPU with `training.compile`, which chooses kernels by their speed")
    return found
