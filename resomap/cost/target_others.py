"""Other programs on the machine on which a kit measures: the cores that they took meanwhile."""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Optional


class Spent(NamedTuple):
    """Seconds until some moment: of the clock, of this process on processors, of all processes there."""

    clock: float
    own: float
    all: float


class Others:
    """Cores that other programs took, piece by piece of the measurement; those of earlier processes are its lines."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        """Go on behind these lines."""
        self.pieces = [(line["seconds"], line["cores"]) for line in lines]
        self.before = spent()

    def line(self) -> Optional[dict[str, float]]:
        """Return the piece since the last one; None where the system does not tell."""
        before, now = self.before, spent()
        self.before = now
        if before is None or now is None or now.clock <= before.clock:
            return None
        seconds = now.clock - before.clock
        cores = max(0.0, ((now.all - before.all) - (now.own - before.own)) / seconds)
        self.pieces.append((seconds, cores))
        return {"seconds": seconds, "cores": cores}

    def mean(self) -> Optional[float]:
        """Return the cores that they took on average; None where the system does not tell."""
        whole = sum(seconds for seconds, _ in self.pieces)
        return round(sum(seconds * cores for seconds, cores in self.pieces) / whole, 2) if whole else None


def spent() -> Optional[Spent]:
    """Return what was spent until now (Linux: /proc/stat); None where the system does not tell."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        # user, nice, system, idle, iowait, irq, softirq, steal; what guests take stands in `user` too.
        ticks = [int(one) for one in first[1:9]]
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    own = os.times()
    return Spent(time.monotonic(), own.user + own.system, busy)
