"""Exceptions of ResoMap: one clear sentence each, and the exit code that tells the caller what to do about it.

The codes follow sysexits.h where it has a fitting one; Snakemake only sees "not 0", people and the cluster see which.
"""


class ResomapError(Exception):
    """Base of the exceptions: a mistake that the user can mend. The message is one sentence that names the way out."""

    exit_code = 2


class PermanentFailure(ResomapError):
    """A cell's failure that trying again cannot mend (bad data, divergence): it is not retried."""

    exit_code = 65  # EX_DATAERR


class Interrupted(ResomapError):
    """A training stopped by a signal after it saved its checkpoint: the same command resumes from there."""

    exit_code = 75  # EX_TEMPFAIL


class RunsElsewhere(ResomapError):
    """A training that gave way: another run of the same cell and settings, in another place, is the one that counts."""

    exit_code = 69  # EX_UNAVAILABLE

    def __init__(self, words: str, run_id: str) -> None:
        super().__init__(words)
        self.run_id = run_id
