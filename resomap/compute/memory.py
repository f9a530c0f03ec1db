"""Memory of the device that a training has: how much is free, what an allocation lacked, a warning before it ends."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from resomap.machine.cgroups import memory_limit

GIB = 2**30
LOW = 0.05  # of the whole memory: with less than that left the next larger tensor may not fit
MORE_THAN_LOW = 0.1


@dataclass(frozen=True)
class Memory:
    """Free and whole memory of a GPU or of this machine, in bytes."""

    free: int
    whole: int

    def __str__(self) -> str:
        return f"{self.free / GIB:.1f} of {self.whole / GIB:.1f} GiB are free"


def memory_of(device: torch.device) -> Memory:
    """Return the memory that this process can still get.

    On a GPU it is what nobody holds and what torch keeps for reuse; else main memory, of the container where it has a
    limit.
    """
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        return Memory(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device), whole)
    memory = psutil.virtual_memory()
    limit = memory_limit()
    if limit is not None and limit[1] < memory.total:
        return Memory(min(limit[0], memory.available), limit[1])
    return Memory(memory.available, memory.total)


def resident_bytes() -> int:
    """Return the resident main memory of this process, in bytes."""
    return int(psutil.Process().memory_info().rss)


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
