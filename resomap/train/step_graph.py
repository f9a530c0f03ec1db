"""Graph of a step: forward and backward pass recorded once as a CUDA graph, and replayed with one launch.

A replay runs the same kernels on the same memory. So images, targets and weights are copied into tensors that stay, and
loss, hits and gradients come out of such; the random state is set again before each replay. Augmentation is before the
graph, and the update of the weights behind it: a rate or a random change of an image is never recorded.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.models.build import first_line
from resomap.train.batches import Batch
from resomap.train.gradients import BatchPass, GradientPass, Inputs

WARM_UP = 3  # passes before the recording: libraries choose their kernels and take their memory in them

Work = Callable[[], Sequence[Tensor]]


class Recording(Protocol):
    """Work on tensors that stay, recorded once, to be replayed."""

    def record(self, work: Work) -> Sequence[Tensor]:
        """Run the work WARM_UP times, record it, and return the tensors in which each replay leaves its results."""
        ...

    def replay(self) -> None:
        """Do the work on what its tensors hold now."""
        ...


class CudaRecording(Recording):
    """CUDA graph on the present GPU; with `require_sound` the only place that calls CUDA for it."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Work) -> Sequence[Tensor]:
        """Warm up on a stream of its own, as torch asks for, and capture."""
        before, stream = torch.cuda.current_stream(), torch.cuda.Stream()
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        before.wait_stream(stream)
        try:
            # Of this thread alone: meanwhile another one pins the memory of the next batches.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                return work()
        finally:
            torch.cuda.set_stream(before)  # which a capture that fails does not put back

    def replay(self) -> None:
        """Launch the graph."""
        self._graph.replay()


def recording_on(device: torch.device) -> type[Recording] | None:
    """Return the kind of recording that a device has; None where it has none."""
    return CudaRecording if device.type == "cuda" else None


def require_sound(device: torch.device) -> None:
    """Raise ResomapError where a recording that failed has left a GPU's random generator in the midst of it."""
    if device.type != "cuda":
        return
    try:
        torch.rand(1, device=device).item()
    except RuntimeError as error:
        raise ResomapError(
            f"a step could not be recorded as a CUDA graph, and this process cannot go on ({first_line(error)}); the "
            "next attempt has plain steps, as with training.graphs: off"
        ) from None


class GraphPass:
    """Forward and backward pass of a batch by a recorded graph; the interface is `GradientPass`'s.

    The graph is recorded at the first batch of `batch_size` images, and anew where the network changes its mode, what
    of it learns, or its microbatch. A batch of another shape runs without it.
    """

    def __init__(self, eager: GradientPass, kind: type[Recording], batch_size: int) -> None:
        self._eager, self._kind, self._batch_size = eager, kind, batch_size
        self._graph: _StepGraph | None = None
        self._state: tuple[Any, ...] = ()

    def accumulate(
        self, model: nn.Module, scaler: torch.amp.GradScaler, batch: Batch, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Put the batch's gradients into the parameters, which must have none; returns its mean loss and its hits.

        Random draws are those behind the seed that was last set. Raises what torch raises where work cannot be
        recorded, and where memory ends; the network is then as it was.
        """
        seed = torch.initial_seed()
        inputs = self._eager.inputs(batch)
        learns = tuple(parameter.requires_grad for parameter in model.parameters())
        state = (id(model), id(scaler), microbatch, model.training, learns)
        if state != self._state:
            self._graph = None
        if self._graph is None and len(batch.labels) == self._batch_size:
            self._graph = _StepGraph(self._eager, self._kind(), model, scaler, inputs, microbatch)
            self._state = state
        torch.manual_seed(seed)
        if self._graph is None or not self._graph.takes(inputs):
            return self._eager.learn(model, scaler, inputs, microbatch)
        return self._graph.replay(inputs)

    def least_images(self, model: nn.Module, images: Tensor) -> int:
        """Return the fewest images a forward pass that the network takes."""
        return self._eager.least_images(model, images)


def recorded(eager: BatchPass, device: torch.device, batch_size: int) -> BatchPass:
    """Return a pass by a graph; the pass itself where the device records none, as after a resume on another one."""
    kind = recording_on(device)
    return eager if kind is None or not isinstance(eager, GradientPass) else GraphPass(eager, kind, batch_size)


class _StepGraph:
    """Recorded forward and backward pass of a network, with the tensors that go in and come out."""

    def __init__(
        self,
        eager: GradientPass,
        recording: Recording,
        model: nn.Module,
        scaler: torch.amp.GradScaler,
        inputs: Inputs,
        microbatch: int | None,
    ) -> None:
        self._inputs, self._recording = inputs.copy(), recording
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        learned: list[nn.Parameter] = []

        def work() -> Sequence[Tensor]:
            model.zero_grad(set_to_none=True)
            loss, hits = eager.learn(model, scaler, self._inputs, microbatch)
            learned[:] = [parameter for parameter in self._parameters if parameter.grad is not None]
            return loss, hits, *(parameter.grad for parameter in learned if parameter.grad is not None)

        with _undone(model):
            self._loss, self._hits, *self._gradients = recording.record(work)
        self._parameters = learned

    def takes(self, inputs: Inputs) -> bool:
        """Return True if the recorded tensors have the shapes of these."""
        return inputs.shapes == self._inputs.shapes

    def replay(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Compute with these inputs; returns loss and hits, which the next replay leaves alone."""
        self._inputs.take(inputs)
        self._recording.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._loss.clone(), self._hits.clone()


@contextlib.contextmanager
def _undone(model: nn.Module) -> Iterator[None]:
    """Put the network's buffers back as they were, and leave no gradients; weights do not change in a pass."""
    before = {name: values.detach().clone() for name, values in model.named_buffers()}
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, values in model.named_buffers():
                values.copy_(before[name])
