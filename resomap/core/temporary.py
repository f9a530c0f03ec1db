"""Names of temporary files: each tells which process writes it, so that what a killed one left is known as such."""

import functools
import hashlib
import os
import re
import socket
import uuid
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".tmp"
_NAME = re.compile(r"\..+\.(?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})\.[^.]+" + re.escape(SUFFIX))


class Writer(NamedTuple):
    """Process that writes a temporary file."""

    machine: str  # see `machine`
    pid: int


def temporary_beside(path: Path) -> Path:
    """Return an unused path for a temporary neighbour of a file, named after the file and this process."""
    return path.with_name(f".{path.name}.{machine()}-{os.getpid()}.{uuid.uuid4().hex[:8]}{SUFFIX}")


def writer_of(path: Path) -> Writer | None:
    """Return the process that a temporary file's name tells; None for a name of another form (earlier versions)."""
    match = _NAME.fullmatch(path.name)
    return Writer(match["machine"], int(match["pid"])) if match else None


def is_temporary(name: str) -> bool:
    """Return True for the name of a temporary file, of this version or an earlier one."""
    return name.startswith(".") and name.endswith(SUFFIX)


@functools.cache
def machine() -> str:
    """Return 8 hex digits that name where this process's number counts: machine, its start, and container."""
    words = [socket.gethostname()]
    try:
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        words.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # not Linux: a number given anew after a start keeps a leftover until the next call
        pass
    return hashlib.blake2b("\0".join(words).encode(), digest_size=4).hexdigest()
