"""Measurement of one network's cost, in rounds, so that several take turns; docs/cost.md explains each figure."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psutil
import torch
from torch import nn

from resomap.cells.measurement import SCHEMA, Measurement
from resomap.cells.study import Study
from resomap.compute.device import choose_device, is_out_of_memory, memory_left, prepare_backend
from resomap.compute.environment import environment
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.core.errors import ResomapError
from resomap.cost import peak_memory
from resomap.cost.best_batch import PROBE_RUNS, PROBE_SHARE, BestBatch, Obstacle, find_best_batch
from resomap.cost.cost_table import COLUMNS
from resomap.cost.forward_pass import Workload, ready_network
from resomap.cost.timing import Quartiles, timed_runs
from resomap.models.build import build_model, first_line
from resomap.models.fits import ASSUMED_ACTIVATIONS
from resomap.models.operations import one_pass, parameter_count, try_count, weights_bytes

SEED = 0
ROUNDS = 10  # shares of `cost.seconds`, between which the other networks have their turn
LEAST_ROUNDS = 3
# What a network that does not take its input raises, in either library.
REFUSALS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)
# Working memory of an image on a CPU: all its activations in float32, and as much again for what libraries need.
BYTES_AN_ACTIVATION = 8

Answer = TypeVar("Answer")


class Subject:
    """One network under measurement: `prepare` once, `time_round` for each round, then `content`.

    A network that cannot be built, does not run or does not fit is no error: its figures are null with a reason, so
    that one of them does not stop the others. Where the machine is at fault (no GPU, or one that fails) every method
    raises ResomapError.
    """

    def __init__(self, measurement: Measurement, study: Study, classes: int, threads: int, memory_bytes: int) -> None:
        """Take the cores that it computes with, and on a CPU the bytes of main memory that it may take."""
        self.measurement, self._study, self._classes, self._threads = measurement, study, classes, threads
        self._cost, self._memory_bytes = study.config.cost, memory_bytes
        self._recipe = study.recipe(study.cell(measurement.model, measurement.resolution))
        self.device = choose_device(measurement.kind)
        self._execution = Execution.of(self.device, self._recipe.amp, self._recipe.channels_last)
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self._workload: Workload | None = None
        self._times: dict[int, list[float]] = {}  # seconds of each timed run, by the batch

    def prepare(self) -> None:
        """Build the network, count its operations, find its best batch, and measure the memory that it takes."""
        prepare_backend(self.device, self._study.config.deterministic, self._threads)
        network = self._attempt("model", self._build)
        if network is None:
            return
        if not self._count(network):
            return
        resolution = self.measurement.resolution
        ready = self._attempt("model", lambda: ready_network(network, resolution, self._execution))
        if ready is None:
            return
        self._workload = workload = Workload(Inference(ready, self._execution), resolution)
        first = self._attempt("latency", lambda: self._probe(workload, 1))
        if first is None:
            self._workload = None
            return
        self._times[1] = []
        self._peak(workload, 1, "peak_memory_bytes_batch_1")
        best = self._best_batch(workload, first)
        self.values |= {"best_batch": best.size, "best_batch_limit": best.limit}
        self._times[best.size] = []
        if best.size == 1:
            self.values["peak_memory_bytes_best_batch"] = self.values.get("peak_memory_bytes_batch_1")
        else:
            self._peak(workload, best.size, "peak_memory_bytes_best_batch")
        self.park()

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights that it holds in main memory between its rounds."""
        return int(self.values.get("weights_bytes", 0)) if self._workload else 0

    def time_round(self, number: int) -> None:
        """Time the latency and the throughput once more, for a share of `cost.seconds`, in round 0 to ROUNDS - 1.

        What is steady already, over three rounds at least, is timed no more.
        """
        if self._workload is None:
            return
        self._workload.inference.model.to(self.device.torch)
        runs = self._cost.least_runs * (number + 1) // ROUNDS - self._cost.least_runs * number // ROUNDS
        for batch, times in list(self._times.items()):
            if number >= LEAST_ROUNDS and len(times) >= self._cost.least_runs and Quartiles.of(times).is_steady:
                continue
            what = "latency" if batch == 1 else "throughput"
            new = self._attempt(what, partial(self._timed, self._workload, batch, runs))
            if new is None:
                del self._times[batch]  # memory that was there is taken: no figure is better than half a one
            else:
                times += new
        self.park()

    def park(self) -> None:
        """Have the network wait in main memory: those that wait take no room on the device."""
        if self._workload is not None and self.device.is_cuda:
            self._workload.inference.model.cpu()
            torch.cuda.empty_cache()

    def content(self) -> dict[str, Any]:
        """Return the content of the measurement's file."""
        if latency := self._times.get(1):
            self._add("latency_ms", Quartiles.of(latency).scaled(1000), "latency_runs")
        best = self.values.get("best_batch")
        if best is not None and (times := self._times.get(best)):
            self._add("throughput_images_per_second", Quartiles.of(times).rate(best), "throughput_runs")
        measurement, execution = self.measurement, self._execution
        return {
            **dict.fromkeys(COLUMNS),
            "schema": SCHEMA,
            "model": measurement.model,
            "resolution": measurement.resolution,
            "device_kind": measurement.kind,
            "device": self.device.name,
            "threads": self._threads,
            "precision": execution.precision_name,
            "channels_last": execution.channels_last,
            "classes": self._classes,
            **self.values,
            "measured_at": time.time(),
            "settings": measurement.settings(self._study, self._classes),
            "environment": environment(self.device),
            "reasons": self.reasons,
        }

    def _build(self) -> nn.Module:
        torch.manual_seed(SEED)
        return build_model(self.measurement.model, self.measurement.resolution, self._classes).model

    def _count(self, network: nn.Module) -> bool:
        """Count the figures that do not depend on the device: parameters, bytes of the weights, FLOPs, activations.

        Returns False where the network does not run at all.
        """
        self.values |= {"params": parameter_count(network), "weights_bytes": weights_bytes(network)}
        resolution = self.measurement.resolution
        operations = try_count(network, resolution)
        if not isinstance(operations, str):
            self.values |= {"flops": operations.flops, "activations": operations.activations}
        elif self._attempt("model", lambda: one_pass(network, resolution)) is None:
            return False
        else:
            self.reasons["flops"] = operations
        return True

    def _attempt(self, what: str, work: Callable[[], Answer]) -> Answer | None:
        """Return the work's answer; None, with the reason kept, where the network or the memory does not allow it."""
        try:
            return work()
        except (ResomapError, MemoryError, *REFUSALS) as error:
            is_short = _is_short(error)
            self.reasons[what] = first_line(error)
        if is_short:
            self.reasons[what] = f"out of memory ({memory_left(self.device.torch)})"
        return None

    def _best_batch(self, workload: Workload, first: Quartiles) -> BestBatch:
        def probe(batch: int) -> Quartiles | Obstacle:
            if not self._fits(batch):
                return "memory"
            try:
                return self._probe(workload, batch)
            except (MemoryError, *REFUSALS) as error:
                is_short = _is_short(error)
            # Outside the handler: the error's traceback holds on to the tensors that have to go.
            if self.device.is_cuda:
                torch.cuda.empty_cache()
            return "memory" if is_short else "refused"  # some kernels count elements in 32 bits

        return find_best_batch(probe, first, self._cost)

    def _timed(self, workload: Workload, batch: int, least_runs: int) -> list[float]:
        return timed_runs(workload.on(batch), self.device.torch, self._cost.seconds / ROUNDS, least_runs)

    def _probe(self, workload: Workload, batch: int) -> Quartiles:
        seconds = self._cost.seconds * PROBE_SHARE
        return Quartiles.of(timed_runs(workload.on(batch), self.device.torch, seconds, PROBE_RUNS, until_steady=True))

    def _fits(self, batch: int) -> bool:
        """Return True if a batch may be tried: on a CPU one that does not fit is killed by the system, not refused."""
        if self.device.is_cuda:
            return True
        allowed = min(self._memory_bytes, psutil.virtual_memory().available)
        activations = self.values.get("activations")
        if activations is None:
            activations = ASSUMED_ACTIVATIONS * self.measurement.resolution**2
        return bool(batch * activations * BYTES_AN_ACTIVATION <= allowed)

    def _add(self, name: str, quartiles: Quartiles, runs: str) -> None:
        self.values |= {
            f"{name}_median": quartiles.median,
            f"{name}_q1": quartiles.q1,
            f"{name}_q3": quartiles.q3,
            runs: quartiles.runs,
        }

    def _peak(self, workload: Workload, batch: int, name: str) -> None:
        device, held = self.device.torch, workload.held_bytes(batch)
        peak = self._attempt("memory", lambda: peak_memory.peak_memory_bytes(workload.on(batch), device, held))
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
