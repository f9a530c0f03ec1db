"""Make one measurement of cost and write it. `measure` is the order; docs/cost.md explains each figure."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import psutil
import torch
from torch import nn

from resomap.cells.measurement import SCHEMA, Measurement
from resomap.cells.study import Study
from resomap.compute.device import Device, choose_device, is_out_of_memory, memory_left, prepare_backend
from resomap.compute.environment import environment
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.config.schema import Cost
from resomap.core.errors import ResomapError
from resomap.core.files import write_json
from resomap.cost import peak_memory
from resomap.cost.best_batch import PROBE_RUNS, PROBE_SHARE, BestBatch, Obstacle, find_best_batch
from resomap.cost.cost_table import COLUMNS
from resomap.cost.forward_pass import Workload, ready_network
from resomap.cost.timing import Quartiles, time_runs
from resomap.models.build import build_model, first_line
from resomap.models.operations import count_operations, parameter_count, weights_bytes

SEED = 0
# What a network that does not take its input raises, in either library.
REFUSALS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)
# Working memory of an image on a CPU: all its activations in float32, and as much again for what libraries need.
BYTES_AN_ACTIVATION = 8

Answer = TypeVar("Answer")


def measure(measurement: Measurement, study: Study, classes: int, threads: int, memory_bytes: int) -> list[str]:
    """Measure and write all figures; return the reasons why some are not available, one sentence each.

    A network that cannot be built, does not run or does not fit is no error: its figures are null with a reason,
    so that one of them does not stop the table. `memory_bytes`: what this process may take on a CPU.
    Raises ResomapError where the machine is at fault: no GPU, or one that fails.
    """
    settings = measurement.settings(study, classes)
    recipe = study.recipe(study.cell(measurement.model, measurement.resolution))
    device = choose_device(measurement.kind)
    prepare_backend(device, study.config.deterministic, threads)
    execution = Execution.of(device, recipe.amp, recipe.channels_last)
    content: dict[str, Any] = {
        **dict.fromkeys(COLUMNS),
        "schema": SCHEMA,
        "model": measurement.model,
        "resolution": measurement.resolution,
        "device_kind": measurement.kind,
        "device": device.name,
        "threads": threads,
        "precision": str(execution.precision or torch.float32).removeprefix("torch."),
        "channels_last": execution.channels_last,
        "classes": classes,
    }
    figures = _Figures(device)
    network = figures.attempt("model", lambda: _build(measurement, classes))
    if network is not None:
        figures.count(network, measurement.resolution)
    if network is not None and "activations" in figures.values:
        ready = figures.attempt("model", lambda: ready_network(network, measurement.resolution, execution))
        if ready is not None:
            workload = Workload(Inference(ready, execution), measurement.resolution)
            figures.time(workload, study.config.cost, memory_bytes)
    content |= figures.values
    content |= {
        "measured_at": time.time(),
        "settings": settings,
        "environment": environment(device),
        "reasons": figures.reasons,
    }
    write_json(measurement.path, content)
    return [f"{measurement.name}: no {what}: {why}" for what, why in figures.reasons.items()]


def _build(measurement: Measurement, classes: int) -> nn.Module:
    torch.manual_seed(SEED)
    return build_model(measurement.model, measurement.resolution, classes).model


class _Figures:
    """The figures of one network, and the reasons for those that are missing."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def count(self, network: nn.Module, resolution: int) -> None:
        """Count the figures that do not depend on the device: parameters, bytes of the weights, FLOPs, activations."""
        self.values |= {"params": parameter_count(network), "weights_bytes": weights_bytes(network)}
        operations = self.attempt("model", lambda: count_operations(network, resolution))
        if operations is not None:
            self.values |= {"flops": operations.flops, "activations": operations.activations}

    def time(self, workload: Workload, cost: Cost, memory_bytes: int) -> None:
        """Measure latency of one image, throughput of the best batch, and the memory of both."""
        first = self.attempt("latency", lambda: self._timed(workload, 1, cost.seconds, cost.least_runs))
        if first is None:
            return
        self._add("latency_ms", first.scaled(1000), "latency_runs")
        self._peak(workload, 1, "peak_memory_bytes_batch_1")

        best = self._best_batch(workload, first, cost, memory_bytes)
        times: Quartiles | None = first
        if best.size > 1:
            times = self.attempt("throughput", lambda: self._timed(workload, best.size, cost.seconds, cost.least_runs))
        if times is None:
            return
        self.values |= {"best_batch": best.size, "best_batch_limit": best.limit}
        self._add("throughput_images_per_second", times.rate(best.size), "throughput_runs")
        if best.size == 1:
            self.values["peak_memory_bytes_best_batch"] = self.values.get("peak_memory_bytes_batch_1")
        else:
            self._peak(workload, best.size, "peak_memory_bytes_best_batch")

    def attempt(self, what: str, work: Callable[[], Answer]) -> Answer | None:
        """Return the work's answer; None, with the reason kept, where the network or the memory does not allow it."""
        try:
            return work()
        except (ResomapError, MemoryError, *REFUSALS) as error:
            is_short = _is_short(error)
            self.reasons[what] = first_line(error)
        if is_short:
            self.reasons[what] = f"out of memory ({memory_left(self._device.torch)})"
        return None

    def _best_batch(self, workload: Workload, first: Quartiles, cost: Cost, memory_bytes: int) -> BestBatch:
        def probe(batch: int) -> Quartiles | Obstacle:
            if not self._fits(batch, memory_bytes):
                return "memory"
            try:
                return self._timed(workload, batch, cost.seconds * PROBE_SHARE, PROBE_RUNS)
            except (MemoryError, *REFUSALS) as error:
                is_short = _is_short(error)
            # Outside the handler: the error's traceback holds on to the tensors that have to go.
            if self._device.is_cuda:
                torch.cuda.empty_cache()
            return "memory" if is_short else "refused"  # some kernels count elements in 32 bits

        return find_best_batch(probe, first, cost)

    def _fits(self, batch: int, memory_bytes: int) -> bool:
        """Return True if a batch may be tried: on a CPU one that does not fit is killed by the system, not refused."""
        if self._device.is_cuda:
            return True
        allowed = min(memory_bytes, psutil.virtual_memory().available)
        return batch * self.values["activations"] * BYTES_AN_ACTIVATION <= allowed

    def _timed(self, workload: Workload, batch: int, seconds: float, least_runs: int) -> Quartiles:
        return time_runs(workload.on(batch), self._device.torch, seconds, least_runs)

    def _add(self, name: str, quartiles: Quartiles, runs: str) -> None:
        self.values |= {
            f"{name}_median": quartiles.median,
            f"{name}_q1": quartiles.q1,
            f"{name}_q3": quartiles.q3,
            runs: quartiles.runs,
        }

    def _peak(self, workload: Workload, batch: int, name: str) -> None:
        device, held = self._device.torch, workload.held_bytes(batch)
        peak = self.attempt("memory", lambda: peak_memory.peak_memory_bytes(workload.on(batch), device, held))
        if peak is not None:
            self.values |= {name: peak, "memory_method": peak_memory.method(device)}
        else:
            self.reasons.setdefault("memory", peak_memory.NO_RESIDENT_MEMORY)


def _is_short(error: Exception) -> bool:
    """Return True if memory ended. Raises ResomapError where it is the GPU that failed, not the network."""
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return True
    if "CUDA error" in str(error):
        raise ResomapError(
            f"the GPU fails: {first_line(error)}; check it with nvidia-smi and run the same command again"
        ) from error
    return False
