"""`resomap train` over a slow or deadly file layer: `python faulty_trainer.py SECONDS CRASH_AT train CELL ...`.

Every operation on a checkpoint file (open, each write, fsync, link, rename) takes SECONDS longer, and at operation
number CRASH_AT (counted from 1; 0: never) the process is killed as by the kernel. With the environment variable
OPERATIONS each is listed in that file. The trainer itself is the real one.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

DELAY, CRASH_AT = float(sys.argv[1]), int(sys.argv[2])
LIST = Path(os.environ["OPERATIONS"]) if "OPERATIONS" in os.environ else None
count = 0


def operation(kind: str, path: object) -> None:
    global count
    if "checkpoints" not in str(path):
        return
    count += 1
    if LIST:
        with LIST.open("a") as stream:
            stream.write(f"{kind} {path}\n")
    if count == CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(DELAY)


class Slow:
    """A stream whose writes are operations."""

    def __init__(self, stream: Any, path: str) -> None:
        self._stream, self._path = stream, path

    def write(self, data: bytes) -> int:
        operation("write", self._path)
        # Half of it first: a kill finds torn files.
        half = len(data) // 2
        self._stream.write(data[:half])
        self._stream.flush()
        operation("write", self._path)
        return half + self._stream.write(data[half:])

    def __enter__(self) -> "Slow":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def named(handle: int) -> str:
    return os.readlink(f"/proc/self/fd/{handle}")


def wrap() -> None:
    fdopen, fsync, replace, link = os.fdopen, os.fsync, os.replace, os.link

    def slow_fdopen(handle: int, *arguments: Any, **options: Any) -> Any:
        path = named(handle)
        stream = fdopen(handle, *arguments, **options)
        return Slow(stream, path) if "checkpoints" in path else stream

    def slow_fsync(handle: int) -> None:
        operation("fsync", named(handle))
        fsync(handle)

    def slow_replace(source: Any, target: Any, **options: Any) -> None:
        operation("replace", target)
        replace(source, target, **options)

    def slow_link(source: Any, target: Any, **options: Any) -> None:
        operation("link", target)
        link(source, target, **options)

    os.fdopen, os.fsync, os.replace, os.link = slow_fdopen, slow_fsync, slow_replace, slow_link


if __name__ == "__main__":
    wrap()
    from resomap.cli import main

    sys.exit(main(sys.argv[3:]))
