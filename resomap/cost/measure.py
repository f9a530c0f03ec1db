"""Measurement of one network's cost in all its runtimes, in rounds; docs/cost.md explains each figure."""

import copy
import time
from typing import Any

import torch
from torch import nn

from resomap.cells.measurement import SCHEMA, Measurement
from resomap.cells.study import Study
from resomap.compute.device import choose_device, prepare_backend
from resomap.compute.environment import environment
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.config.costs import Precision, Way
from resomap.cost.cost_table import COLUMNS, OF_RUNTIMES
from resomap.cost.end_to_end import EndToEnd
from resomap.cost.exported_pass import Exports
from resomap.cost.forward_pass import EagerPass, GraphPass, Workload, ready_network
from resomap.cost.runtime_figures import BYTES_AN_ACTIVATION, Attempts, RuntimeFigures
from resomap.cost.threads import Threads
from resomap.export.facts import versions
from resomap.models.build import build_model, first_line
from resomap.models.fits import ASSUMED_ACTIVATIONS
from resomap.models.index import COLOURS
from resomap.models.operations import one_pass, parameter_count, try_count, weights_bytes
from resomap.train import step_graph

SEED = 0
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# As torch, and the files of earlier versions, name them.
PRECISION_NAMES: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "int8": "int8"}


class Subject:
    """One network under measurement: `prepare` once, `time_round` for each round, then `content`.

    A network that cannot be built, does not run or does not fit is no error: its figures are null with a reason, so
    that one of them does not stop the others. Where the machine is at fault (no GPU, or one that fails) every method
    raises ResomapError.
    """

    def __init__(
        self,
        measurement: Measurement,
        study: Study,
        classes: int,
        threads: Threads,
        memory_bytes: int,
        end_to_end: EndToEnd,
    ) -> None:
        """Take the threads that it computes with, and on a CPU the bytes of main memory that it may take."""
        self.measurement, self._study, self._classes, self._threads = measurement, study, classes, threads
        self._cost, self._memory_bytes = study.config.cost, memory_bytes
        self._recipe = study.recipe(study.cell(measurement.model, measurement.resolution))
        self._channels = study.config.data.input_channels
        self.device = choose_device(measurement.kind)
        self.values: dict[str, Any] = {}
        self._end_to_end = end_to_end
        self._attempts = Attempts(self.device)
        self._ways = self._cost.ways(measurement.kind)
        self._figures: list[tuple[Way, RuntimeFigures]] = []

    def prepare(self) -> None:
        """Build the network, count its operations, and make it ready in each runtime."""
        prepare_backend(self.device, self._study.config.deterministic, self._threads.count)
        network = self._attempts.answer("model", self._build)
        if network is None or not self._count(network):
            return
        resolution, channels = self.measurement.resolution, self._channels
        ready = self._attempts.answer("model", lambda: ready_network(network, resolution, channels))
        if ready is None:
            return
        exports = Exports(ready, resolution, self._threads, channels)
        for way in self._ways:
            self._make_ready(way, ready, exports)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the weights that it holds in main memory between its rounds."""
        return sum(figures.waiting_bytes for _, figures in self._figures)

    def time_round(self, number: int) -> None:
        """Time each runtime once more, in round 0 to ROUNDS - 1."""
        for _, figures in self._figures:
            figures.time_round(number)

    def content(self) -> dict[str, Any]:
        """Return the content of the measurement's file: the figures of the first runtime, and `others`."""
        measurement, found = self.measurement, [self._of_runtime(way, figures) for way, figures in self._figures]
        wanted = {"runtime": self._ways[0].runtime, "precision": PRECISION_NAMES[self._ways[0].precision]}
        first: dict[str, Any] = found[0] if found else {**wanted, **self._threads_told, "reasons": {}}
        return {
            **dict.fromkeys(COLUMNS),
            "schema": SCHEMA,
            "model": measurement.model,
            "resolution": measurement.resolution,
            "device_kind": measurement.kind,
            "device": self.device.name,
            "classes": self._classes,
            **self.values,
            **first,
            "measured_at": time.time(),
            "settings": measurement.settings(self._study, self._classes),
            "environment": environment(self.device) | versions(),
            "reasons": self._attempts.reasons | first["reasons"],
            "others": found[1:],
        }

    @property
    def _threads_told(self) -> dict[str, Any]:
        return {"threads": self._threads.count, "pinned_cores": self._threads.words}

    def _of_runtime(self, way: Way, figures: RuntimeFigures) -> dict[str, Any]:
        is_torch = way.runtime == "torch"
        return {
            **dict.fromkeys(OF_RUNTIMES),
            **self._threads_told,
            "precision": PRECISION_NAMES[way.precision],
            "channels_last": is_torch and self._recipe.channels_last,
            **figures.values(),
            "reasons": figures.reasons,
        }

    def _make_ready(self, way: Way, network: nn.Module, exports: Exports) -> None:
        """Make the network ready in one runtime; in eager PyTorch where the first one does not take it."""
        if way.runtime == "torch":
            workload: Workload | None = self._attempts.answer(way.name, lambda: self._in_torch(network, way))
        else:
            workload = self._attempts.answer(way.name, lambda: exports.workload(way))
            if workload is None and way == self._ways[0]:
                self._attempts.reasons[way.name] += "; measured in eager PyTorch, which is not ranked beside others"
                way = Way("torch", "fp32")
                workload = self._attempts.answer(way.name, lambda: self._in_torch(network, way))
        if workload is None:
            return
        activations = self.values.get("activations") or ASSUMED_ACTIVATIONS * self.measurement.resolution**2
        image_bytes = activations * BYTES_AN_ACTIVATION
        figures = RuntimeFigures(workload, self.device, self._cost, image_bytes, self._memory_bytes)
        if not self._figures and self._channels == COLOURS:  # the first, by which the map decides; of a JPEG
            figures.time_too(self._end_to_end)
        figures.prepare()
        self._figures.append((way, figures))

    def _in_torch(self, network: nn.Module, way: Way) -> Workload:
        """Return the network in PyTorch: on a GPU as a CUDA graph, or eager where none can be captured."""
        execution = Execution(device=self.device, precision=None, channels_last=self._recipe.channels_last)
        # A copy: other runtimes take the network as it is.
        placed = execution.place(copy.deepcopy(network).to(DTYPES[way.precision]))
        inference, resolution = Inference(placed, execution), self.measurement.resolution
        eager = EagerPass(inference, resolution, weights_bytes(placed), self._channels)
        if step_graph.recording_on(self.device.torch) is None:
            return eager
        graph = GraphPass(eager.inference, eager.resolution, eager.file_bytes, eager.channels)
        try:
            graph.on(1)
        except Exception as error:  # a capture that is refused reads as "CUDA error": eager shows whether the GPU fails
            self._attempts.reasons["cuda graph"] = first_line(error)
            return eager
        return graph

    def _build(self) -> nn.Module:
        torch.manual_seed(SEED)
        one = self.measurement
        return build_model(one.model, one.resolution, self._classes, channels=self._channels).model

    def _count(self, network: nn.Module) -> bool:
        """Count the figures that do not depend on the device: parameters, bytes of the weights, FLOPs, activations.

        Returns False where the network does not run at all.
        """
        self.values |= {"params": parameter_count(network), "weights_bytes": weights_bytes(network)}
        resolution = self.measurement.resolution
        operations = try_count(network, resolution, self._channels)
        if not isinstance(operations, str):
            self.values |= {"flops": operations.flops, "activations": operations.activations}
        elif self._attempts.answer("model", lambda: one_pass(network, resolution, self._channels)) is None:
            return False
        else:
            self._attempts.reasons["flops"] = operations
        return True
