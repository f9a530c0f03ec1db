"""Peak memory of a forward pass: what the GPU's allocator gave out, or how far this process grew on a CPU."""

import ctypes
import statistics
from pathlib import Path

import torch
from torch import nn

from resomap.compute.memory import status_bytes
from resomap.cost.timing import Run

ALLOCATED = "allocated"  # on a GPU: highest sum of what torch's allocator gave out
RESIDENT = "resident"  # on a CPU: weights, input, and the growth of this process's resident memory
NO_RESIDENT_MEMORY = "this system does not tell how far a process grew while it computed (Linux does)"
REPETITIONS = 3

_RESET = Path("/proc/self/clear_refs")


def peak_memory_bytes(run: Run, device: torch.device, held: int) -> int | None:
    """Return the highest memory of `run`, in bytes; None where the system cannot tell.

    `run` has run before. `held`: bytes of weights and input, which are there already. On a GPU it is all that torch's
    allocator gave out: weights, input, activations and workspaces, without the context that each process has there
    (some hundred MB). On a CPU it is `held` plus the growth of the resident memory, the median of three.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)
    grown = [_growth(run) for _ in range(REPETITIONS)]
    known = [growth for growth in grown if growth is not None]
    return held + round(statistics.median(known)) if known else None


def method(device: torch.device) -> str:
    """Return which of the two methods a device has: their figures are not compared."""
    return ALLOCATED if device.type == "cuda" else RESIDENT


def size_bytes(model: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers()))


def _growth(run: Run) -> int | None:
    """Return the bytes by which resident memory grew at most during the run (Linux: proc(5), clear_refs and VmHWM)."""
    return_freed_memory()
    before = status_bytes("VmRSS")
    try:
        _RESET.write_text("5")  # the highest value so far becomes the present one
    except OSError:
        return None
    run()
    highest = status_bytes("VmHWM")
    return max(0, highest - before) if before is not None and highest is not None else None


def return_freed_memory() -> None:
    """Give freed memory back to the system (glibc's malloc_trim).

    What was freed and the allocator kept is taken again before the process grows: it would hide growth. Only glibc has
    the call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
