"""Exceptions of ResoMap: one clear sentence each, and the exit code that tells the caller what to do about it.

The codes follow sysexits.h where it has a fitting one; Snakemake only sees "not 0", people and the cluster see which.
"""

import errno
import os
from pathlib import Path

from resomap.core.temporary import is_temporary

NO_LEAVE = (errno.EROFS, errno.EACCES, errno.EPERM)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class ResomapError(Exception):
    """Base of the exceptions: a mistake that the user can mend. The message is one sentence that names the way out."""

    exit_code = 2


class PermanentFailure(ResomapError):
    """A cell's failure that trying again cannot mend (bad data, divergence): it is not retried."""

    exit_code = 65  # EX_DATAERR


class Diverged(PermanentFailure):
    """A training whose loss, weights or answers are no longer finite numbers: its learning rate is too high."""


class Interrupted(ResomapError):
    """A training stopped by a signal after it saved its checkpoint: the same command resumes from there."""

    exit_code = 75  # EX_TEMPFAIL


class RunsElsewhere(ResomapError):
    """A training that gave way: another run of the same cell and settings, in another place, is the one that counts."""

    exit_code = 69  # EX_UNAVAILABLE

    def __init__(self, words: str, run_id: str) -> None:
        super().__init__(words)
        self.run_id = run_id


def refusal(error: OSError) -> str | None:
    """Return the sentence for a place that may not be written, has no room, or is a folder in place of a file.

    None for other errors of the system.
    """
    place = Path(error.filename) if isinstance(error.filename, str) else Path()
    if is_temporary(place.name):  # of a file that was to be written atomically
        place = place.parent
    if error.errno in NO_LEAVE:
        return (
            f"{place.absolute()} cannot be used ({os.strerror(error.errno)}), and this command writes there; get leave "
            "to write, or copy the study to a place of your own (`resomap status` and `resomap predict` only read)"
        )
    if error.errno in (errno.EISDIR, errno.ENOTDIR):
        names = [name for name in (error.filename2, error.filename) if isinstance(name, str)]
        place = Path(names[0]) if names else place
        what = "is a folder, where a file of the study belongs" if place.is_dir() else "stands where a folder belongs"
        return f"{place.absolute()} {what}; move it away, and call the same command again"
    if error.errno in NO_ROOM:
        why = "is full" if error.errno == errno.ENOSPC else "takes no more of yours (your quota is used up)"
        return f"the disk of {place.absolute()} {why}; make room, and the same command goes on from what is there"
    return None
