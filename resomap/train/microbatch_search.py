"""Search for the microbatch: the batch is halved until a forward and backward pass fits into memory.

Tried at the model's largest resolution, with everything that a training holds beside it: gradients, the optimizer's
moments, the moving average, the whole batch of images.
"""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3

from resomap.cells import microbatch_choice
from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.compute.device import Device, choose_device, is_out_of_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.memory import Memory, resident_bytes, wanted
from resomap.compute.normalisation import in_layout
from resomap.core.files import write_json
from resomap.core.sealed_json import sealed
from resomap.models.build import build_model, logits
from resomap.train.batch_parts import is_single_value, part_sizes, takes_single_image
from resomap.train.objective import make_optimizer

# Not to be used: validation, other sizes of the last batch, and fragments need room too.
HEAD_ROOM = 0.1


def find_microbatch(
    study: Study, model: str, classes: int, threads: int, memory_bytes: int, say: Callable[[str], None]
) -> None:
    """Find and write the model's microbatch. `memory_bytes`: what this process may take where it trains on a CPU.

    Where not even one image fits at the largest resolution, the next lower one is tried: cells above it fail by
    themselves, permanently, and the others train. Raises ResomapError for a mistake in settings or environment.
    """
    device = choose_device(study.config.device)
    prepare_backend(device, study.config.deterministic, threads)
    cells = microbatch_choice.cells_of(study, model)
    content: dict[str, Any] = {"microbatch": 1, "largest": cells[0].resolution, "fits_at": None, "tried": []}
    for cell in cells:
        found = _largest_fitting(_Trial(study, cell, classes, device), device, memory_bytes, content["tried"])
        if found is not None:
            content |= {"microbatch": found, "fits_at": cell.resolution}
            break
        say(f"{cell.name}: not even one image at a time fits ({content['tried'][-1]['reason']})")
    content |= {
        "device": device.name,
        "memory": asdict(device.memory()),
        "found_at": time.time(),
        "settings": microbatch_choice.settings(study, model),
    }
    write_json(microbatch_choice.path_of(model), sealed(content))
    say(f"{model}: {content['microbatch']} of {study.recipe(cells[0]).batch_size} images a forward pass")


def _largest_fitting(trial: "_Trial", device: Device, memory_bytes: int, tried: list[dict[str, Any]]) -> int | None:
    """Try the batch, its half, and so on; returns the first size that fits with head-room, None where 1 does not."""
    size = trial.batch
    while True:
        reason = _try(trial, size, device, memory_bytes)
        tried.append({"resolution": trial.resolution, "images": size, "fits": reason is None, "reason": reason})
        if reason is None:
            return size
        if size == 1:
            return None
        size = (size + 1) // 2


def _try(trial: "_Trial", size: int, device: Device, memory_bytes: int) -> str | None:
    """Run a trial with so many images; returns None where it fits, else the shortage."""
    before = device.memory()
    if not device.is_cuda:
        before = Memory(max(0, min(memory_bytes - resident_bytes(), before.free)), memory_bytes)
    reason: str | None
    try:
        with _limit_memory(device, before.free):
            trial.run(size)
    except ValueError as error:
        if not is_single_value(error):
            raise
        reason = "batch normalisation cannot train with one image a forward pass here"
    except (RuntimeError, MemoryError) as error:
        # oneDNN, which computes convolutions on a CPU, does not say that its memory ended: here a limit ends it.
        if not is_out_of_memory(error) and (device.is_cuda or "could not create" not in str(error)):
            raise
        reason = wanted(error, before)
    else:
        reason = trial.shortage(before)
    # Outside the handler: the error's traceback holds on to the tensors that have to go.
    trial.clear()
    return reason


class _Trial:
    """Network with all that a training holds beside it, run on noise."""

    def __init__(self, study: Study, cell: Cell, classes: int, device: Device) -> None:
        recipe = study.recipe(cell)
        # Any rate will do: memory does not depend on it.
        self._recipe, self._device = recipe.with_rate(recipe.learning_rate_search.rates[0]), device
        self.batch, self.resolution = self._recipe.batch_size, cell.resolution
        self._execution = Execution.of(device, self._recipe.amp, self._recipe.channels_last)
        self._channels = study.config.data.input_channels
        built = build_model(cell.model, cell.resolution, classes, channels=self._channels)
        self._model = self._execution.place(built.model.train())
        self._optimizer = make_optimizer(self._model, self._recipe)
        self._average = ModelEmaV3(self._model) if self._recipe.ema_decay is not None else None
        self._classes = classes

    def run(self, size: int) -> None:
        """Run a forward and backward pass of the largest part of a batch that is there as a whole.

        `size`: images a part, to which a training may add one, to avoid a part of a single image. A small pass before
        it leaves gradients and the optimizer's moments, as in the midst of a training.
        Raises what torch raises where memory ends, or where batch normalisation gets a single image.
        """
        if self._device.is_cuda:
            torch.cuda.reset_peak_memory_stats(self._device.torch)
        shape = (self.batch, self._channels, self.resolution, self.resolution)
        images = torch.rand(shape, device=self._device.torch)
        targets = torch.rand((self.batch, self._classes), device=self._device.torch).softmax(1)
        least = 1
        if 1 in (size, self.batch % size):
            least = 1 if takes_single_image(self._model, in_layout(images[:1], self._execution.channels_last)) else 2
        largest = max(part_sizes(self.batch, size, least)) if size >= least else size
        for count in (min(2, largest), largest):
            with self._execution.autocast():
                output = logits(self._model(in_layout(images[:count], self._execution.channels_last)))
            F.cross_entropy(output.float(), targets[:count]).backward()
            self._optimizer.step()

    def shortage(self, before: Memory) -> str | None:
        """Lack of head-room after a pass that fitted into a GPU, for a person; None where there is enough."""
        if not self._device.is_cuda:
            return None  # there the limit of the process left it out
        peak = torch.cuda.max_memory_reserved(self._device.torch)
        if peak <= (1 - HEAD_ROOM) * before.free:
            return None
        return f"{peak / 2**30:.1f} GiB leave less than {HEAD_ROOM:.0%} of {before}"

    def clear(self) -> None:
        """Free the memory of a pass."""
        self._optimizer.zero_grad(set_to_none=True)
        if self._device.is_cuda:
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _limit_memory(device: Device, more: int) -> Iterator[None]:
    """Limit the process on a CPU to so many bytes more, so that allocations fail in place of the system killing it."""
    if device.is_cuda:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _private_bytes() + int(more * (1 - HEAD_ROOM))
    resource.setrlimit(resource.RLIMIT_DATA, (limit if before[1] < 0 else min(limit, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _private_bytes() -> int:
    """Bytes of this process that RLIMIT_DATA counts (Linux: VmData in proc(5))."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
