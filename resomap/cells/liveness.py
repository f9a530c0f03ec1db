"""Liveness of processes on other machines, by their heartbeats, whatever their clocks say.

The age of a heartbeat is known where it lies in the past. One from the future, of a machine whose clock is ahead, says
nothing about its age: it counts as alive for one interval from the moment at which this machine sees it first, and
after that only where it has moved on. When that was is kept in `.resomap/heartbeats/<host>.json`, by this machine's
time since its start, which no change of a clock touches.
"""

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.cells.study import STATE_DIRECTORY
from resomap.core.files import read_json, write_json
from resomap.core.json_object import known_values
from resomap.core.text import duration

DIRECTORY = STATE_DIRECTORY / "heartbeats"
# No clock is that far ahead by mistake about time zones: such a heartbeat was never true.
FAR_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class _Sighting:
    """Newest heartbeat from the future that was seen of a process, and when: seconds since this machine's start."""

    heartbeat: float
    at: float
    boot: str


# Of this process, where the disk takes no record: a study that may only be read, a full disk.
_sightings: dict[str, _Sighting] = {}


def is_fresh(process: str, heartbeat: float, stale_seconds: float) -> bool:
    """Return True if a heartbeat (Unix time) of a process on another machine shows that it lives.

    `process` names it among all whose heartbeats are asked about. A heartbeat counts for `stale_seconds`. Never waits.
    """
    ahead = heartbeat - time.time()
    if ahead <= 0:
        return -ahead < stale_seconds
    if not ahead <= FAR_SECONDS:  # NaN included
        return False
    now, boot = _seconds_since_boot(), _boot_id()
    known = _sightings.get(process) or _recorded().get(process)
    if known is None or known.boot != boot or known.at > now or heartbeat > known.heartbeat:
        known = _Sighting(heartbeat, now, boot)
        _record(process, known)
    _sightings[process] = known
    return now - known.at < stale_seconds


def age_words(heartbeat: float) -> str:
    """Return how long ago a heartbeat was, in words: `40 s ago`, or that its clock is ahead of ours."""
    age = time.time() - heartbeat
    return f"{duration(age)} ago" if age > -1 else f"by a clock that is {duration(-age)} ahead"


def _record(process: str, sighting: _Sighting) -> None:
    """Add a sighting to this machine's record; leave out those whose time has come since, and so show their age."""
    kept = {name: known for name, known in _recorded().items() if known.heartbeat > time.time()}
    with contextlib.suppress(OSError):
        write_json(_path(), {name: vars(known) for name, known in {**kept, process: sighting}.items()})


def _recorded() -> dict[str, _Sighting]:
    content: Any = None
    with contextlib.suppress(OSError):
        content = read_json(_path())
    found = {}
    for name, entry in content.items() if isinstance(content, dict) else ():
        if (known := known_values(_Sighting, entry)) is not None:
            found[name] = _Sighting(**known)
    return found


def _path() -> Path:
    return DIRECTORY / f"{socket.gethostname()}.json"


def _seconds_since_boot() -> float:
    """Return the time since this machine's start, its sleep included where the system tells."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: a start in between shows by a smaller time
        return ""
