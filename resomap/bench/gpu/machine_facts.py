"""Device, driver and libraries of the machine that is measured."""

import platform
from collections.abc import Iterator
from typing import Any

import torch

from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.compute.device import choose_device, precision
from resomap.machine.cpus import available_cores
from resomap.machine.nvidia import driver_version


def describe(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row of the machine. Raises ResomapError where torch finds no GPU and one is wanted."""
    device = choose_device(settings.device)
    memory = device.memory()
    facts: dict[str, Any] = {
        "device": device.name,
        "memory_bytes": memory.whole,
        "free_bytes": memory.free,
        "cores": available_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "precision": str(precision("auto", device) or torch.float32).removeprefix("torch."),
    }
    if device.is_cuda:
        properties = torch.cuda.get_device_properties(device.torch)
        facts |= {
            "gpus": torch.cuda.device_count(),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver_version(),
        }
    words = f"{device.name}, {memory}, {facts['cores']} cores, Python {facts['python']}, torch {facts['torch']}"
    yield Row("machine", f"{words}, {facts['precision']}", None, facts)
