"""CPU cores that this process may use: CPU affinity and the container's quota (cgroup)."""

import os
from pathlib import Path


def available_cores() -> int:
    """Return the number of cores that this process may use.

    It is the size of the process's CPU affinity, or the container's quota (cgroup v2) where that is less.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores
