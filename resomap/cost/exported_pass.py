"""Workload that is timed in ONNX Runtime or OpenVINO: a forward pass of the exported network on noise, on the CPU."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn

from resomap.config.costs import Way
from resomap.cost.threads import Threads
from resomap.cost.timing import Run
from resomap.export.export_files import FP16, INT8
from resomap.export.lower_precision import half_precision, quantised
from resomap.export.onnx_writer import onnx_model
from resomap.export.openvino_writer import write_openvino
from resomap.export.runtimes import Computed, by_onnxruntime, openvino_network, openvino_pass
from resomap.models.index import COLOURS

# Ranges by which the network is quantised; they change no time.
_CALIBRATION_BATCHES = 2


@dataclass(frozen=True)
class ExportedPass:
    """Forward passes of an exported network; those that `anew` returns keep no memory for the next one."""

    runtime: str
    resolution: int
    file_bytes: int
    computed: Computed
    anew: Callable[[], Computed]
    channels: int = COLOURS
    core: int | None = None  # of the thread that calls; OpenVINO places that one too

    def on(self, batch: int) -> Run:
        """Return a forward pass of one batch of noise."""
        return partial(self.computed, noise(batch, self.resolution, self.channels))

    def classifier(self) -> Computed:
        """Return what gives logits [1, classes] of one image float32 [1, C, R, R]."""
        return self.computed

    def for_memory(self, batch: int) -> Run:
        """Return a pass that takes its memory anew each time."""
        run = partial(self.anew(), noise(batch, self.resolution, self.channels))
        run()
        return run

    def held_bytes(self, batch: int) -> int:
        """Return the bytes of the file, which has the weights, and of one batch of images."""
        return self.file_bytes + batch * self.channels * self.resolution**2 * 4

    def wake(self) -> None:
        """Do nothing: it is on its device."""

    def park(self) -> None:
        """Do nothing: it waits in main memory."""


@dataclass(frozen=True)
class Exports:
    """One network, in eval mode on the CPU, as the runtimes take it; exported once, for all precisions."""

    network: nn.Module
    resolution: int
    threads: Threads
    channels: int = COLOURS

    def workload(self, way: Way) -> ExportedPass:
        """Return the network ready in a runtime and a precision. Raises whatever the libraries raise."""
        model = self._in(way)
        if way.runtime == "openvino":
            return self._openvino(model, way)
        content = model.SerializeToString()
        threads = self.threads
        opened = partial(by_onnxruntime, content, threads.count, affinities=threads.of_onnxruntime)
        anew = partial(opened, keeps_memory=False)
        return ExportedPass(way.runtime, self.resolution, len(content), opened(), anew, self.channels, threads.first)

    def _openvino(self, model: Any, way: Way) -> ExportedPass:
        with TemporaryDirectory() as place:
            source, target = Path(place, "source.onnx"), Path(place, "network.xml")
            source.write_bytes(model.SerializeToString())
            write_openvino(source, target, way.precision, {})
            size = target.stat().st_size + target.with_suffix(".bin").stat().st_size
            compiled = openvino_network(target, way.precision, self.threads.count, is_pinned=bool(self.threads.cores))
        anew = partial(openvino_pass, compiled, keeps_memory=False)
        return ExportedPass(way.runtime, self.resolution, size, openvino_pass(compiled), anew, self.channels)

    def _in(self, way: Way) -> Any:
        if way.precision == INT8:
            calibration = [noise(1, self.resolution, self.channels) for _ in range(_CALIBRATION_BATCHES)]
            return quantised(self._model, iter(calibration))
        if way.precision == FP16 and way.runtime == "onnxruntime":
            return half_precision(deepcopy(self._model))  # it is converted in place
        return self._model

    @cached_property
    def _model(self) -> Any:
        return onnx_model(self.network, self.resolution, self.channels, is_quick=True).proto


def noise(batch: int, resolution: int, channels: int) -> np.ndarray:
    """Return images of noise, float32 [N, C, R, R]."""
    return np.random.default_rng(0).standard_normal((batch, channels, resolution, resolution), dtype=np.float32)
