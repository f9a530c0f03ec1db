"""CPU cores that this process may use: CPU affinity and the container's quota (cgroup)."""

import os

from resomap.machine.cgroups import cpu_limit


def available_cores() -> int:
    """Return the number of cores that this process may use.

    It is the size of the process's CPU affinity, or the container's quota (cgroup v2) where that is less.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit()
    return cores if limit is None else max(1, min(cores, int(limit)))
