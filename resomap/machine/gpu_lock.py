"""Lock per GPU: each job on this machine gets a device of its own, which the kernel releases with its holder.

Snakemake counts GPUs (`--resources gpu=4`) and assigns none: without this all of its jobs would compute on the first.
The lock files are a user's own, so that runs in several directories share the devices too. A device that a scheduler
gave to one job alone is free by definition, and taken at once.
"""

import contextlib
import fcntl
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from resomap.core.errors import Interrupted, ResomapError
from resomap.core.files import open_own
from resomap.machine.gpus import Gpu, visible_gpus

POLL_SECONDS = 1.0

# Held until this process ends. Not inherited: a child that outlives its training keeps no device from others.
_held: list[int] = []
_bound: list[Gpu] = []  # the one of this process


def bind_gpu(say: Callable[[str], None] = print, stop_waiting: Callable[[], bool] = lambda: False) -> Gpu | None:
    """Lock a free one of the visible GPUs for the rest of this process, and hide the others from CUDA.

    To be called before CUDA is initialised, best before torch is imported. Where all are taken, say so and wait. A
    process that has one keeps it. Returns None, and changes nothing, where no GPU is visible. Raises Interrupted where
    `stop_waiting` comes true.
    """
    if _bound:
        return _bound[0]
    gpus = visible_gpus()
    if not gpus:
        return None
    is_waiting = False
    while (gpu := _take_one(gpus)) is None:
        if stop_waiting():
            raise Interrupted(f"all {len(gpus)} visible GPUs are still taken; nothing was begun here")
        if not is_waiting:
            say(f"all {len(gpus)} visible GPUs are taken by other trainings; waiting for one")
            is_waiting = True
        time.sleep(POLL_SECONDS)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu.handle
    _bound.append(gpu)
    if len(gpus) > 1:
        say(f"on GPU {gpu.handle}, one of {len(gpus)}")
    return gpu


def lock_directory() -> Path:
    """Return the directory of this user's device locks on this machine."""
    return Path(tempfile.gettempdir(), f"resomap-gpus-{os.getuid()}")


def _require_own(directory: Path) -> None:
    """Make the directory. Raises ResomapError where somebody else did: in a shared temporary folder anybody may."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ResomapError(
            f"{directory}, for this user's locks of GPUs, is a link, another user's, or one that others may write; "
            "remove it, or set TMPDIR to a folder of your own"
        )


def _take_one(gpus: Iterable[Gpu]) -> Gpu | None:
    directory = lock_directory()
    _require_own(directory)
    for gpu in gpus:
        path = directory / f"{re.sub(r'[^A-Za-z0-9.-]', '_', gpu.identity)}.lock"
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        _held.append(descriptor)
        return gpu
    return None
