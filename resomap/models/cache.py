"""Cache of what the model libraries told once per installation: JSON files in the user's cache directory.

torchvision and timm take seconds to import, so the process that plans the grid asks a child process and keeps
the answer. A file's name carries both versions: an upgrade asks anew.
"""

import contextlib
import fcntl
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json

LAYOUT = 4  # raised when the content of the files changes its form or its meaning


@functools.cache
def library_versions() -> tuple[str, str]:
    """Return the installed versions of torchvision and timm, without importing them.

    Raises ResomapError: one of them is not installed.
    """
    try:
        return metadata.version("torchvision"), metadata.version("timm")
    except metadata.PackageNotFoundError as error:
        raise ResomapError(f"the package {error.name} is not installed; `pip install {error.name}`") from None


def cache_files(kind: str) -> list[Path]:
    """Return the paths that a cache file of this kind may have: the user's cache, then the working directory's own."""
    torchvision, timm = library_versions()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = f"{kind}-{torchvision}-{timm}-v{LAYOUT}.json"
    return [Path(home, "resomap", name), Path(".resomap", "cache", name)]


def read_cache(kind: str) -> dict[str, Any]:
    """Return the content of the first sound file of this kind, or an empty dict; a damaged one counts as absent."""
    for path in cache_files(kind):
        with contextlib.suppress(OSError):
            content = read_json(path)
            if isinstance(content, dict):
                return content
    return {}


@contextlib.contextmanager
def writable_cache(kind: str) -> Iterator[Path]:
    """Lock the first file of this kind that can be written against other processes of this machine; yield its path.

    Raises ResomapError: neither directory can be written.
    """
    for path in cache_files(kind):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = open(path.with_suffix(".lock"), "a")  # noqa: SIM115 (it closes below, once the caller is done)
        except OSError:
            continue
        with lock:
            # Some network file systems know no locks. Then two processes ask the same thing and write the
            # same answer, each in one piece.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
            return
    first, second = (path.parent for path in cache_files(kind))
    raise ResomapError(f"neither {first} nor {second} can be written; set XDG_CACHE_HOME to a directory that can")


def write_cache(path: Path, content: dict[str, Any]) -> None:
    """Write a cache file atomically; content that cannot be kept (disk full) is only asked for again next time."""
    try:
        write_json(path, content)
    except OSError as error:
        print(f"resomap: {path} could not be written ({error.strerror}), going on without it", file=sys.stderr)


def ask_process(module: str, question: Any = None) -> Any:
    """Run `python -m <module>` with a JSON question on its standard input and return its JSON answer.

    Raises ResomapError with the last line the process wrote, where it fails or is killed.
    """
    # The child gets no GPU: it computes nothing on one, and must not take memory from a training.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, env=environment)
    # Libraries may print while they are imported: the answer is the last line.
    lines = done.stdout.strip().splitlines()
    with contextlib.suppress(json.JSONDecodeError):
        if done.returncode == 0 and lines:
            return json.loads(lines[-1])
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, nothing said"])[-1]
    raise ResomapError(
        f"torchvision and timm could not be asked about their models: {said}; mend the installation of {sys.executable}"
    )
