"""Limits that Linux puts on this process as a member of a group (cgroup v2): a container's, or a batch job's."""

from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpu_limit(mounted: Path = MOUNTED, membership: Path = MEMBERSHIP) -> float | None:
    """CPU time that the group may use, in cores; None where there is no limit."""
    try:
        quota, period = _read("cpu.max", mounted, membership).split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None  # no limit ("max"), another layout, or another system


def memory_limit(mounted: Path = MOUNTED, membership: Path = MEMBERSHIP) -> tuple[int, int] | None:
    """Bytes that the group may still use, its page cache counted as free, and its limit; None where there is none."""
    try:
        most = int(_read("memory.max", mounted, membership))
        used = int(_read("memory.current", mounted, membership))
        stat = dict(line.split() for line in _read("memory.stat", mounted, membership).splitlines())
        return max(0, most - used + int(stat.get("file", 0))), most
    except (OSError, ValueError):
        return None


def _read(name: str, mounted: Path, membership: Path) -> str:
    """The content of a file of this process's group, or of the root: in a container its own group is mounted there."""
    group = membership.read_text().strip().rpartition(":")[2].lstrip("/")
    own = mounted / group / name
    return (own if own.exists() else mounted / name).read_text()
