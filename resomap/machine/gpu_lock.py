"""Locks of GPUs: each job on this machine gets a device, or a share of one, that the kernel frees with its holder.

Snakemake counts GPUs (`--resources gpu=4`) and assigns none: without this all of its jobs would compute on the first.
The lock files are a user's own, so that runs in several directories share the devices too. A device that a scheduler
gave to one job alone is free by definition, and taken at once.

The lock file of a GPU has UNITS bytes, of which a job locks its share: the whole, or one of its halves, thirds and so
on. So jobs of runs that share a device differently never have more than all of it. Who wants the whole waits at the
byte behind them, where nobody passes it: no job takes a share any more, and those that run end.
"""

import errno
import fcntl
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from resomap.core.errors import Interrupted
from resomap.core.files import open_own
from resomap.machine.gpus import Gpu, visible_gpus
from resomap.machine.lock_folder import own_lock_directory
from resomap.machine.mps import join_mps

POLL_SECONDS = 1.0

WHOLE = Fraction(1)
UNITS = math.lcm(*range(1, 17))  # of a device: half of it, a third ... a sixteenth are whole units
ENTRANCE = UNITS  # the byte at which a job waits for all of a device

_claimed = WHOLE  # the share that this process is to take
_bound: list["_DeviceLock"] = []  # the one of this process, which holds it until it ends


def claim_share(share: Fraction) -> None:
    """Have this process take only a share of a GPU: 1 through the number of jobs that share one, or the whole."""
    global _claimed
    _claimed = share


def bind_gpu(
    say: Callable[[str], None] = print,
    stop_waiting: Callable[[], bool] = lambda: False,
) -> Gpu | None:
    """Lock this process's share of one of the visible GPUs until it ends, and hide the other GPUs from CUDA.

    That is the whole, unless `claim_share` says less. To be called before CUDA is initialised,
    best before torch is imported. Where all are taken, say so and wait. A process that has one keeps it. Returns None,
    and changes nothing, where no GPU is visible. Raises Interrupted where `stop_waiting` comes true.
    """
    if _bound:
        return _bound[0].gpu
    share = _claimed
    gpus = visible_gpus()
    if not gpus:
        return None
    locks = device_locks(gpus)
    is_waiting = False
    while (taken := _take_one(locks, share)) is None:
        if stop_waiting():
            raise Interrupted(f"all {len(gpus)} visible GPUs are still taken; nothing was begun here")
        if not is_waiting:
            one = "one" if share == WHOLE else f"{share} of one"
            say(f"all {len(gpus)} visible GPUs are taken by other trainings; waiting for {one}")
            is_waiting = True
        time.sleep(POLL_SECONDS)
    _bound.append(taken)
    for lock in locks:
        if lock is not taken:
            lock.close()
    os.environ["CUDA_VISIBLE_DEVICES"] = taken.gpu.handle
    if share != WHOLE:
        join_mps()
    if len(gpus) > 1 or share != WHOLE:
        on = taken.gpu.handle if share == WHOLE else f"{taken.gpu.handle}, on {share} of it"
        say(f"on GPU {on}, one of {len(gpus)}")
    return taken.gpu


def bind_share(device: str, share: Fraction) -> None:
    """Bind a step that trains to a share of a GPU, as `bind_gpu` does; `device` is the configuration's, of which `cpu`
    has none.
    """
    if device != "cpu":
        claim_share(share)
        bind_gpu()


def bound_share() -> Fraction:
    """Return this process's share of its GPU; the whole where no GPU is bound."""
    return _bound[0].share if _bound else WHOLE


def device_locks(gpus: Iterable[Gpu]) -> list["_DeviceLock"]:
    """Return the locks of GPUs, none of them taken."""
    directory = own_lock_directory()
    return [_DeviceLock(gpu, directory) for gpu in gpus]


class _DeviceLock:
    """Lock of one GPU. A process opens it once: the kernel drops its locks of a file when it closes any copy of it.

    A child does not inherit them, so one that outlives its training keeps no device from others.
    """

    def __init__(self, gpu: Gpu, directory: Path) -> None:
        self.gpu, self.share = gpu, Fraction(0)
        self.is_waiting = False  # at the entrance, for the whole
        path = directory / f"{re.sub(r'[^A-Za-z0-9.-]', '_', gpu.identity)}.lock"
        self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o600)

    def close(self) -> None:
        os.close(self._descriptor)

    def take(self, share: Fraction, may_wait: bool) -> bool:
        """Take a share where it is free, and nobody waits for all; else stay at the entrance if that is wanted."""
        if not self.is_waiting and not self._lock(ENTRANCE, 1, is_shared=share != WHOLE):
            return False
        size = int(UNITS * share)
        if any(self._lock(start, size) for start in range(0, UNITS, size)):
            self.share = share
        self.is_waiting = may_wait and share == WHOLE and not self.share
        if not self.is_waiting:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, ENTRANCE)
        return self.share == share

    def _lock(self, start: int, size: int, is_shared: bool = False) -> bool:
        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        try:
            fcntl.lockf(self._descriptor, kind | fcntl.LOCK_NB, size, start)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return False
        return True


def _take_one(locks: Sequence[_DeviceLock], share: Fraction) -> _DeviceLock | None:
    """Return the first device of which a share could be taken; None where none is free.

    Who wants a whole device waits at one of them.
    """
    waits_at = next((lock for lock in locks if lock.is_waiting), None)
    for lock in locks:
        if lock.take(share, may_wait=waits_at in (None, lock)):
            return lock
        if lock.is_waiting:
            waits_at = lock
    return None
