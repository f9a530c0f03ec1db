"""Memory of the device that a training has: how much is free, what an allocation lacked, a warning before it ends."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import psutil
import torch

from resomap.machine.cgroups import memory_limit
from resomap.machine.gpu_lock import WHOLE
from resomap.machine.gpus import share_bytes

GIB = 2**30
LOW = 0.05  # of the whole memory: with less than that left the next larger tensor may not fit
MORE_THAN_LOW = 0.1

_limits: dict[torch.device, int] = {}  # bytes that this process may have of a GPU that it shares


@dataclass(frozen=True)
class Memory:
    """Free and whole memory of a GPU or of this machine, in bytes."""

    free: int
    whole: int

    def __str__(self) -> str:
        return f"{self.free / GIB:.1f} of {self.whole / GIB:.1f} GiB are free"


def hold_share(device: torch.device, share: Fraction) -> None:
    """Let this process have no more of a GPU's memory than its share, less what its CUDA context takes."""
    if share < WHOLE:
        whole = torch.cuda.get_device_properties(device).total_memory
        _limits[device] = share_bytes(whole, share)
        torch.cuda.set_per_process_memory_fraction(_limits[device] / whole, device)


def within_limit(memory: Memory, limit: int | None, allocated: int) -> Memory:
    """Return what a process can still get that may have `limit` bytes and has `allocated` of them."""
    if limit is None or limit >= memory.whole:
        return memory
    return Memory(max(0, min(memory.free, limit - allocated)), limit)


def memory_of(device: torch.device) -> Memory:
    """Return the memory that this process can still get.

    On a GPU it is what nobody holds and what torch keeps for reuse; else main memory, of the container where it has a
    limit.
    """
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        allocated = torch.cuda.memory_allocated(device)
        memory = Memory(free + torch.cuda.memory_reserved(device) - allocated, whole)
        return within_limit(memory, _limits.get(device), allocated)
    memory = psutil.virtual_memory()
    limit = memory_limit()
    if limit is not None and limit[1] < memory.total:
        return Memory(min(limit[0], memory.available), limit[1])
    return Memory(memory.available, memory.total)


def resident_bytes() -> int:
    """Return the resident main memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


def own_bytes() -> int:
    """Return the memory that this process holds for itself, in bytes: what is swapped out too, libraries' files not.

    The kernel takes pages of files from a process that does not touch them for a while, so that its resident memory
    falls while it allocates. Where the system does not tell the parts, it is the resident memory.
    """
    anonymous, swapped = status_bytes("RssAnon"), status_bytes("VmSwap")
    return resident_bytes() if anonymous is None or swapped is None else anonymous + swapped


def status_bytes(key: str) -> int | None:
    """Return a value of /proc/self/status in bytes (it is written in KiB); None where the system has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(values[0]) * 1024 if values else None


def wanted(error: BaseException, memory: Memory) -> str:
    """Return, for a person, the size of a failed allocation, where the error tells, and the memory free before it."""
    asked = re.search(r"tried to allocate ([\d.]+) *(bytes|[KMG]i?B)", str(error), re.IGNORECASE)
    if asked is None:
        return str(memory)
    amount, unit = asked.groups()
    more = f"{int(amount) / GIB:.3f} GiB" if unit == "bytes" else f"{amount} {unit}"
    return f"{more} more were needed; {memory}"


class MemoryWatch:
    """Watch that warns once when a training's memory gets short, and again only after it was not."""

    def __init__(self, reading: Callable[[], Memory], say: Callable[[str], None]) -> None:
        self._reading, self._say = reading, say
        self._is_low = False

    def look(self) -> None:
        """Take a reading; say a line if it is the first low one."""
        memory = self._reading()
        share = memory.free / max(1, memory.whole)
        if share < LOW and not self._is_low:
            self._is_low = True
            self._say(
                f"memory gets short: {memory}; when it ends, the microbatch is halved and the result no longer exact "
                "(another process on the same device? a smaller training.microbatch leaves room)"
            )
        elif share > MORE_THAN_LOW:
            self._is_low = False
