"""Workload that is timed in PyTorch: a forward pass of an untrained network on noise, eager or as a CUDA graph."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from resomap.cells.measurement import EAGER
from resomap.compute.inference import Inference
from resomap.compute.normalisation import in_layout
from resomap.cost import peak_memory
from resomap.cost.timing import Run
from resomap.models.build import logits
from resomap.models.index import COLOURS
from resomap.train import step_graph

GRAPH = "torch cuda graph"

Classifier: TypeAlias = Callable[[np.ndarray], np.ndarray]


class Workload(Protocol):
    """A network made ready in a runtime, at one resolution (pixels)."""

    @property
    def resolution(self) -> int:
        """Pixels of the square that it takes."""

    @property
    def runtime(self) -> str:
        """Name of the runtime, by which figures are kept apart."""

    @property
    def core(self) -> int | None:
        """Core on which the thread that calls is held during a pass; None where it may move among those given."""

    def on(self, batch: int) -> Run:
        """Return a forward pass of one batch of noise, to be run again and again. Copying images is not part of it."""

    def classifier(self) -> Classifier:
        """Return what gives logits [1, classes] of one image float32 [1, C, R, R], copied to the device and back."""

    def for_memory(self, batch: int) -> Run:
        """Return a pass that takes its memory anew each time."""

    def held_bytes(self, batch: int) -> int:
        """Return the bytes of the weights and of one batch of images in float32."""

    @property
    def file_bytes(self) -> int:
        """Bytes of the file that would be deployed."""

    def wake(self) -> None:
        """Move the network to its device."""

    def park(self) -> None:
        """Have the network wait in main memory: those that wait take no room on the device."""


@dataclass(frozen=True)
class EagerPass:
    """Forward passes in eager PyTorch, of images that lie on the device already, in the precision of the weights."""

    inference: Inference
    resolution: int
    file_bytes: int = 0
    channels: int = COLOURS
    core: None = None  # torch's threads may move: it starts some anew, and they would begin on the caller's core

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return EAGER

    def on(self, batch: int) -> Callable[[], Tensor]:
        """Return a forward pass of one batch of noise."""
        return partial(self.inference, self._images(batch))

    def classifier(self) -> Classifier:
        """Return what gives logits [1, classes] of one image float32 [1, C, R, R]."""
        example = self._images(1)

        def classify(images: np.ndarray) -> np.ndarray:
            placed = torch.from_numpy(images).to(example.device, example.dtype)
            return _as_array(self.inference(in_layout(placed, self.inference.execution.channels_last)))

        return classify

    def for_memory(self, batch: int) -> Run:
        """Return the same pass."""
        return EagerPass.on(self, batch)

    def held_bytes(self, batch: int) -> int:
        """Return the bytes of the weights and of one batch of images in float32."""
        return peak_memory.size_bytes(self.inference.model) + batch * self.channels * self.resolution**2 * 4

    def wake(self) -> None:
        """Move the network to its device."""
        self.inference.model.to(self.inference.execution.device.torch)

    def park(self) -> None:
        """Have the network wait in main memory, where its device is a GPU."""
        if self.inference.execution.device.is_cuda:
            self.inference.model.cpu()
            torch.cuda.empty_cache()

    def _images(self, batch: int) -> Tensor:
        execution = self.inference.execution
        images = torch.randn(batch, self.channels, self.resolution, self.resolution, device=execution.device.torch)
        weights = next(self.inference.model.parameters(), images)
        return in_layout(images.to(weights.dtype), execution.channels_last)


@dataclass(frozen=True)
class GraphPass(EagerPass):
    """The same passes, captured once as a CUDA graph and replayed, so that the CPU's dispatch is no part of them."""

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return GRAPH

    def on(self, batch: int) -> Callable[[], Tensor]:
        """Return the replay of a captured pass. Raises RuntimeError where the network cannot be captured."""
        return self._captured(self._images(batch))

    def classifier(self) -> Classifier:
        """Return what gives logits [1, classes] of one image: it is copied to where the captured pass reads it."""
        held = self._images(1)
        replay = self._captured(held)

        def classify(images: np.ndarray) -> np.ndarray:
            held.copy_(torch.from_numpy(images))
            return _as_array(replay())

        return classify

    def _captured(self, images: Tensor) -> Callable[[], Tensor]:
        kind = step_graph.recording_on(images.device)
        if kind is None:
            raise RuntimeError(f"{images.device} has no graphs")
        recording = kind()
        (output,) = recording.record(lambda: [logits(self.inference(images))])

        def replay() -> Tensor:
            recording.replay()
            return output

        return replay


def _as_array(output: Any) -> np.ndarray:
    return np.asarray(logits(output).float().cpu().numpy())


def ready_network(model: nn.Module, resolution: int, channels: int = COLOURS) -> nn.Module:
    """Return the network in eval mode, on the CPU in float32.

    Batch normalisation gets the statistics of two images of noise, in place of mean 0 and variance 1. Left at those,
    the values in a deep network of random weights grow or shrink with every layer (10^-13 behind efficientnet_b0),
    and numbers too small for a float's exponent take a CPU many times as long.
    """
    update_bn([torch.randn(2, channels, resolution, resolution)], model)
    return model.eval()
