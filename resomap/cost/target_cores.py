"""Cores that the threads of a measurement are held on: chosen among those that this process was given.

`resomap.cost.on_target` is copied to other machines with this module inside it, so this too is for Python 3.9 and
needs nothing but its standard library.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Optional

SYSTEM = Path("/sys/devices/system/cpu")
TASKS = Path("/proc/self/task")
LOOK = 0.5  # seconds in which the cores are looked at that others use
BUSY = 0.25  # share of that time, from which on a core is taken last


def given_cores() -> set[int]:
    """Return the cores that this process may use; none where the system does not tell."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()


def cores_for(threads: int) -> list[int]:
    """Return a core for each of so many threads; none where fewer were given, or the system pins no threads.

    Cores of a container or of `taskset` stay within those. Physical cores come before the second thread of any, idle
    ones before those that other programs use, and fast ones before slow ones, where a processor has both.
    """
    given = given_cores()
    if len(given) < threads:
        return []
    try:
        os.sched_setaffinity(0, given)
    except OSError:  # a sandbox that does not allow it
        return []
    used = cores_in_use() if len(given) > threads else set()
    return sorted(in_order(given, used)[:threads])


def in_order(given: Iterable[int], used: Iterable[int], system: Path = SYSTEM) -> list[int]:
    """Return cores in the order in which threads take them."""
    first = {core: core == min(_siblings(core, system) & set(given), default=core) for core in given}
    return sorted(given, key=lambda core: (not first[core], core in used, -_speed(core, system), core))


def cores_in_use(seconds: float = LOOK) -> set[int]:
    """Return the cores that programs use now, this thread at rest; none where the system does not tell."""
    before = _idle_ticks()
    time.sleep(seconds)
    most = seconds * os.sysconf("SC_CLK_TCK") if before else 0
    return {core for core, idle in _idle_ticks().items() if core in before and idle - before[core] < most * (1 - BUSY)}


@contextlib.contextmanager
def held_on(cores: Sequence[int]) -> Iterator[None]:
    """Hold all threads of this process, those too that it starts meanwhile, on these cores.

    Afterwards each thread may use the cores that it might before. Without any cores it does nothing.
    """
    if not cores:
        yield
        return
    own, before = os.sched_getaffinity(0), {thread: os.sched_getaffinity(thread) for thread in _threads()}
    try:
        for thread in before:
            _place(thread, cores)
        yield
    finally:
        for thread in _threads():
            _place(thread, before.get(thread, own))


@contextlib.contextmanager
def here_on(core: Optional[int]) -> Iterator[None]:
    """Hold the thread that calls on one core meanwhile; without one it does nothing."""
    if core is None:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def affinities(cores: Sequence[int]) -> str:
    """Return ONNX Runtime's `session.intra_op_thread_affinities`: of its own threads, the one that calls apart.

    It counts the system's cores from 1.
    """
    return ";".join(str(core + 1) for core in cores[1:])


def cores_in_words(cores: Sequence[int]) -> Optional[str]:
    """Return cores as `taskset -c` takes them: `0,1`; None without any."""
    return ",".join(map(str, cores)) or None


def quota(mounted: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Optional[float]:
    """Return the cores' worth of time that a container may use (cgroup v2); None where nothing limits it."""
    try:
        group = membership.read_text().strip().rpartition(":")[2].lstrip("/")
        own = mounted / group / "cpu.max"
        most, period = (own if own.exists() else mounted / "cpu.max").read_text().split()
        return int(most) / int(period)
    except (OSError, ValueError):  # "max", another layout, or another system
        return None


def _threads() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one.name) for one in TASKS.iterdir()]
    return [0]


def _place(thread: int, cores: Iterable[int]) -> None:
    with contextlib.suppress(OSError):  # it has ended
        os.sched_setaffinity(thread, cores)


def _siblings(core: int, system: Path) -> set[int]:
    """Return the numbers of a physical core's threads, among them its own."""
    found = {core}
    with contextlib.suppress(OSError, ValueError):
        text = (system / f"cpu{core}" / "topology" / "thread_siblings_list").read_text()
        for part in text.strip().split(","):
            low, _, high = part.partition("-")
            found.update(range(int(low), int(high or low) + 1))
    return found


def _speed(core: int, system: Path) -> int:
    """Return a figure that is higher for faster cores of one processor; 0 where the system does not tell."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with contextlib.suppress(OSError, ValueError):
            return int((system / f"cpu{core}" / name).read_text())
    return 0


def _idle_ticks() -> dict[int, int]:
    """Return the ticks for which each core has been idle since the system began."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/stat").read_text().splitlines():
            words = line.split()
            if words and words[0][:3] == "cpu" and words[0][3:].isdigit():
                found[int(words[0][3:])] = int(words[4]) + int(words[5])  # iowait is idle too
    return found
