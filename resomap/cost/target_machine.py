"""Facts about the machine on which a kit measures, and the files that survive a kill there.

`resomap.cost.on_target` is copied to other machines with this module inside it, so this too is for Python 3.9 and
needs nothing but its standard library.
"""

import ctypes
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Optional


class Stop(Exception):
    """Reason to end, as one sentence for the person at the terminal."""


class Unknown(Exception):
    """Figure that cannot be had of a network, with its reason; the others go on."""


class Journal:
    """Lines of JSON that are appended and synced. The first says what is measured, and how."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        """Open a journal, or begin it with `head`; stop where it began otherwise, or another process has it."""
        self.path = path
        self.stream: BinaryIO = open(path, "ab+")  # noqa: SIM115  # as long as the process
        lock(self.stream)
        self.stream.seek(0)
        content = self.stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.stream.truncate(len(whole))  # a line that a kill tore
        try:
            lines = [json.loads(one) for one in whole.splitlines()]
        except ValueError:
            raise Stop(f"{path} is damaged; begin again with --anew") from None
        self.lines: list[dict[str, Any]] = lines[1:]
        if not lines:
            self.write(head)
        else:
            require_same(lines[0], head, path)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line that outlives a kill and a power cut."""
        self.stream.write(json.dumps(line).encode() + b"\n")
        self.stream.flush()
        os.fsync(self.stream.fileno())

    def end(self) -> None:
        """Remove it: nothing is to be gone on with."""
        self.stream.close()
        self.path.unlink()


def growth(run: Callable[[], Any]) -> int:
    """Return the bytes by which resident memory grew at most during the run (Linux: proc(5), clear_refs and VmHWM)."""
    if not Path("/proc/self/clear_refs").exists():
        raise Unknown("this system does not tell how far a process grew while it computed (Linux does)")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    before = kibibytes("/proc/self/status", "VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest value so far becomes the present one
    run()
    return max(0, (kibibytes("/proc/self/status", "VmHWM") or 0) - (before or 0)) * 1024


def free_memory() -> Optional[int]:
    """Return the bytes that processes may still take; None where the system does not tell."""
    found = kibibytes("/proc/meminfo", "MemAvailable")
    return None if found is None else found * 1024


def kibibytes(path: str, key: str) -> Optional[int]:
    """Return a value of a file of /proc, in KiB as it is written there."""
    found = after(path, key)
    return int(found.split()[0]) if found else None


def after(path: str, key: str) -> str:
    """Return what stands behind a key in a file of lines `key: value`; nothing where there is none."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), "")


def cpu_name() -> str:
    """Return the name of the board, else of the processor."""
    try:
        board = Path("/proc/device-tree/model").read_text(errors="replace").strip("\0 \n")
    except OSError:
        board = ""
    name = board or after("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return "".join(one for one in name if one.isprintable())[:200] or "unknown"


def circumstances() -> dict[str, str]:
    """Return what computes: processor, system and Python."""
    system = f"{platform.system()} {platform.machine()}"
    return {"cpu": cpu_name(), "system": system, "python": platform.python_version()}


def lock(stream: BinaryIO) -> None:
    """Take the journal for this process alone: two that measure at once disturb each other. Not on Windows."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Stop("another measurement runs in this folder; wait for its end") from None


def require_same(began: Any, head: dict[str, Any], path: Path) -> None:
    """Stop where a file was begun under other options, or on another machine."""
    known = began if isinstance(began, dict) else {}
    other = [name for name in head if known.get(name) != head[name]]
    if other:
        names = ", ".join(other)
        raise Stop(f"{path} was begun with another {names}; repeat those options, or add --anew")


def replace(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new one, never a half."""
    part = path.with_name(path.name + ".new")
    with open(part, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)
