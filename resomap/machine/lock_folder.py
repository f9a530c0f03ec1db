"""Folder of a user's locks on this machine, which the runs of several studies share: GPUs, and the daemon of MPS."""

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from resomap.core.errors import ResomapError


def lock_directory() -> Path:
    """Return the directory of this user's device locks on this machine."""
    return Path(tempfile.gettempdir(), f"resomap-gpus-{os.getuid()}")


def own_lock_directory() -> Path:
    """Make the directory of this user's device locks, and return it.

    Raises ResomapError where somebody else made it: in a shared temporary folder anybody may.
    """
    directory = lock_directory()
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ResomapError(
            f"{directory}, for this user's locks of GPUs, is a link, another user's, or one that others may write; "
            "remove it, or set TMPDIR to a folder of your own"
        )
    return directory
