"""Parts of `resomap bench --gpu` in their order, the most important first: what each does, and how long it may take.

Light: a part's module is imported in its own process alone.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings

Work: TypeAlias = Callable[[GpuSettings], Iterator[Row]]


@dataclass(frozen=True)
class Part:
    """One part: its work is the function `function` of the module `module` in this package."""

    name: str
    about: str
    module: str
    function: str
    seconds: float  # at most
    judges: bool = False  # whether what it finds is right


PARTS = (
    Part("machine", "device, driver, libraries", "machine_facts", "describe", 60),
    Part("resume", "same bits after a kill and resume", "exact_resume", "check_small", 75, judges=True),
    Part("pooling", "the same of a network with adaptive pooling", "exact_resume", "check_pooled", 100, judges=True),
    Part("scaler", "the same in float16 with a scaler", "exact_resume", "check_scaled", 75, judges=True),
    Part("memory", "microbatch halved where memory ends", "memory_limit", "check_halving", 75, judges=True),
    Part("lock", "a second process waits for the device", "device_wait", "check_waiting", 45, judges=True),
    Part("rates", "images a second, beside the same steps on the device", "gpu_rates", "rates_at_lowest", 110),
    Part("shared", "several trainings at a time, beside one", "shared_rates", "rates_shared", 60),
    Part("larger", "the same at larger resolutions", "gpu_rates", "rates_above", 120),
    Part("loader", "the loop beside one on timm's loader", "gpu_rates", "beside_loader", 60),
    Part("start", "seconds to the first step", "gpu_timings", "start", 60),
    Part("saves", "what checkpoints cost", "gpu_timings", "saves", 90),
    Part("script", "the process beside timm's train.py", "gpu_timings", "beside_train_script", 90),
)


def part(name: str) -> Part:
    """Return the part of a name."""
    return next(one for one in PARTS if one.name == name)


def work_of(name: str) -> Work:
    """Return the function of a part, imported."""
    chosen = part(name)
    work: Work = getattr(importlib.import_module(f"resomap.bench.gpu.{chosen.module}"), chosen.function)
    return work
