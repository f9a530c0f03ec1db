"""GPUs that this process may see, told by its environment and the driver: planning imports no torch."""

import os
from dataclasses import dataclass
from fractions import Fraction

from resomap.core.text import is_whole_number
from resomap.machine.nvidia import LISTING_SECONDS, ListedGpu, is_installed, list_gpus, memory_sizes

# Values of CUDA_VISIBLE_DEVICES by which a scheduler or a person says "no GPU".
NO_GPU = ("", "-1", "NoDevFiles", "void")
# Memory that a process on a GPU takes beside its tensors: the CUDA context with its kernels.
CONTEXT_BYTES = 500 * 10**6


@dataclass(frozen=True)
class Gpu:
    """A device, or a MIG part of one, that CUDA can be told to use."""

    handle: str  # for CUDA_VISIBLE_DEVICES: an index, GPU-<uuid> or MIG-<uuid>
    identity: str  # the same for all who speak of this device, by whichever name


def given_gpu() -> str | None:
    """Return the setting that gave this job a GPU (`CUDA_VISIBLE_DEVICES=0`), or None where nothing says so."""
    for variable in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS"):
        value = os.environ.get(variable, "").strip()
        if value not in NO_GPU:
            return f"{variable}={value}"
    return None


def may_have_gpu() -> bool:
    """Return True if a training here is likely to find a GPU: the driver is installed, and nothing hides the GPUs."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in NO_GPU
    return not hidden and is_installed()


def visible_gpus(seconds: float = LISTING_SECONDS) -> list[Gpu]:
    """Return the devices that CUDA would let this process use, in its order; empty where nobody knows of any.

    CUDA_VISIBLE_DEVICES may hold indices, UUIDs (their first digits do) and MIG names; without it, all that the
    driver lists within `seconds`. A GPU that is divided stands for its parts: CUDA uses one part a process.
    """
    listed = list_gpus(seconds)
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        names = [name for gpu in listed for name in gpu.parts or (gpu.uuid,)]
        return [Gpu(name, name) for name in names]
    found: list[Gpu] = []
    for name in (part.strip() for part in given.split(",")):
        if name in NO_GPU or (is_whole_number(name) and listed and int(name) >= len(listed)):
            break  # as CUDA does: what follows an invalid name is not visible either
        found += _named(name, listed)
    return list({gpu.identity: gpu for gpu in reversed(found)}.values())[::-1]


def gpu_memory() -> int | None:
    """Return the bytes of the smallest of the visible GPUs; None where the driver does not tell."""
    known = memory_sizes(gpu.identity for gpu in visible_gpus())
    return min(known.values(), default=None)


def share_bytes(whole: int, share: Fraction) -> int:
    """Return the bytes for the tensors of a process that has a share of a GPU with `whole` bytes.

    The context of each process is counted beside its tensors, also where one has the whole.
    """
    return max(0, int(whole * share) - CONTEXT_BYTES)


def _named(name: str, listed: list[ListedGpu]) -> list[Gpu]:
    if is_whole_number(name) and listed:
        # The driver counts in the order of the bus, CUDA by speed unless CUDA_DEVICE_ORDER says otherwise. On unlike
        # GPUs an identity may thus be another one's; it is nobody's twice, which is what a lock needs.
        gpu = listed[int(name)]
        return [Gpu(part, part) for part in gpu.parts] or [Gpu(name, gpu.uuid)]
    for gpu in listed:
        if gpu.uuid.startswith(name):
            return [Gpu(part, part) for part in gpu.parts] or [Gpu(name, gpu.uuid)]
        if name in gpu.parts:
            return [Gpu(name, name)]
    # An index means another device in each job of a scheduler that hides the others.
    job = os.environ.get("SLURM_JOB_ID", "")
    return [Gpu(name, f"job{job}-{name}" if job and is_whole_number(name) else name)]
