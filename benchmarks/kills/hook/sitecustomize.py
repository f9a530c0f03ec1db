"""Count the file operations of this process below its working directory, list them, or kill it at one of them.

Python imports this module at its start where its folder is in PYTHONPATH; a forked process imports it by its path
(`zygote`). RESOMAP_KILLS, which children do not inherit,
is JSON: {"list": FILE} appends a line `kind path` for each operation; {"kind": ..., "file": ..., "number": N} ends the
process with SIGKILL at the N-th operation (from 1) of this kind on files of this class, just before it is done. A write
that is the one is done by half.
"""

import builtins
import io
import json
import os
import re
import signal
import sys
import threading

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Audit events of operations that change names, with the place of the path among their arguments.
NAMES = {
    "os.rename": ("rename", 1),
    "os.link": ("link", 1),
    "os.symlink": ("symlink", 1),
    "os.remove": ("unlink", 0),
    "os.mkdir": ("mkdir", 0),
    "os.rmdir": ("rmdir", 0),
    "os.truncate": ("truncate", 0),
}
ANY_NUMBER = [
    (re.compile(r"(?<=senders/)[0-9a-f]+-[0-9]+-[0-9]+"), "#"),  # machine, process and its start
    (re.compile(r"(?<=/)(\.?)[0-9]+-[0-9]+(?=\.json)"), r"\1#"),  # process and the moment of its request
    (re.compile(r"\.[0-9a-f]{8}-[0-9]+\.[0-9a-z_]+\.tmp$"), ".#.tmp"),
    (re.compile(r"[0-9a-f]{32}|(?<=-)[0-9a-f]{12}"), "#"),
]


class Operations:
    """The operations so far; `asked` is what RESOMAP_KILLS says."""

    def __init__(self, asked: dict) -> None:
        self._asked, self._root, self._count = asked, os.getcwd() + os.sep, 0
        self._lock = threading.RLock()  # saves are written by a thread
        self._pid = os.getpid()
        self._list = os.open(asked["list"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "list" in asked else None

    def path(self, given: object) -> str | None:
        """Return the path below the working directory that is meant, in the form that is the same in each run."""
        if isinstance(given, int):
            try:
                given = os.readlink(f"/proc/self/fd/{given}")
            except OSError:
                return None
        if not isinstance(given, str | bytes | os.PathLike):
            return None
        path = os.path.abspath(os.fsdecode(given))
        if not path.startswith(self._root) or "__pycache__" in path:
            return None
        path = path.removeprefix(self._root)
        for pattern, sign in ANY_NUMBER:
            path = pattern.sub(sign, path)
        return path

    def is_next_fatal(self, kind: str, given: object) -> bool:
        """Count one operation; return True if the process is to be killed at it."""
        if os.getpid() != self._pid or (path := self.path(given)) is None:
            return False
        with self._lock:
            if self._list is not None:
                write(self._list, f"{kind} {path}\n".encode())
            if (kind, path) != (self._asked.get("kind"), self._asked.get("file")):
                return False
            self._count += 1
            return self._count == self._asked["number"]

    def before(self, kind: str, given: object) -> None:
        """Count one operation, and die at the one that was asked for."""
        if self.is_next_fatal(kind, given):
            die()


def die() -> None:
    """End this process as the kernel does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


class Counting:
    """Mix-in of buffered streams: each write counts, and a fatal one reaches the disk by half."""

    def write(self, data):
        if operations.is_next_fatal("write", self.fileno()):
            view = memoryview(data).cast("B")
            super().write(view[: len(view) // 2])
            self.flush()
            die()
        return super().write(data)


class Writer(Counting, io.BufferedWriter):
    """Buffered stream for writing."""


class Random(Counting, io.BufferedRandom):
    """Buffered stream for reading and writing."""


def counting_open(file, mode="r", buffering=-1, *text_options, **options):
    """Open as `open` does; what is written is counted."""
    if not set(mode) & set("wax+") or operations.path(file) is None or buffering == 0:
        return plain_open(file, mode, buffering, *text_options, **options)
    raw_options = {name: options.pop(name) for name in ("closefd", "opener") if name in options}
    raw = plain_open(file, mode.replace("t", "").replace("b", "") + "b", 0, **raw_options)
    stream = Random(raw) if "+" in mode else Writer(raw)
    if "b" in mode:
        return stream
    text = io.TextIOWrapper(stream, *text_options, **options, line_buffering=buffering == 1)
    text.mode = mode
    return text


def at_event(event: str, arguments: tuple) -> None:
    """Count what Python's own audit tells of."""
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        operations.before("open", arguments[0])
    elif event in NAMES:
        kind, place = NAMES[event]
        operations.before(kind, arguments[place])


def counted(name: str, kind: str):
    """Return a function of `os` that is given a descriptor first, its calls counted."""
    function = getattr(os, name)

    def counting(descriptor, *arguments, **named):
        operations.before(kind, descriptor)
        return function(descriptor, *arguments, **named)

    return counting


if "RESOMAP_KILLS" in os.environ:
    write, plain_open = os.write, io.open
    operations = Operations(json.loads(os.environ.pop("RESOMAP_KILLS")))
    for name, kind in (("fsync", "fsync"), ("write", "write"), ("pwrite", "write"), ("posix_fallocate", "allocate")):
        setattr(os, name, counted(name, kind))
    io.open = builtins.open = counting_open
    sys.addaudithook(at_event)
