"""Disk without room under a Snakemake: noticed before it begins, and one sentence where it fills up while it runs."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from resomap.core.errors import NO_ROOM, refusal
from resomap.core.temporary import temporary_beside

PROBE_BYTES = 1 << 16  # Snakemake's own files of a call and our study file are smaller


def no_room(directory: Path) -> OSError | None:
    """Return the error where a directory has no room for a small file, by disk or quota; None where it has.

    A quota shows in no figure of the file system: it is tried.
    """
    probe = temporary_beside(directory / "room")
    try:
        with probe.open("xb", buffering=0) as stream:
            left = PROBE_BYTES
            while left > 0:
                left -= stream.write(bytes(left))
    except OSError as error:
        if error.errno in NO_ROOM:
            return OSError(error.errno, os.strerror(error.errno), str(directory))
    finally:
        probe.unlink(missing_ok=True)
    return None


def say_refusals(of: Any, directory: Path) -> None:
    """Have Snakemake say in one sentence that a place may not be written, has no room or is another run's.

    `of` is its class of the API, whose method `print_exception` prints what ends a run; `directory` is meant where an
    error names no file. What a log file on a full disk does not take is lost.
    """
    logging.raiseExceptions = False
    place, printing = str(directory.absolute()), of.print_exception

    def print_sentence(api: Any, error: Exception) -> None:
        if isinstance(error, OSError):
            named = OSError(error.errno, os.strerror(error.errno or 0), error.filename or place)
            if (sentence := refusal(named)) is not None:
                print(f"resomap: {sentence}", file=sys.stderr, flush=True)
                return
        if type(error).__name__ == "LockException":
            from resomap.planning import second_run  # here: Snakemake loads this module in every run

            if (sentence := second_run.sentence(Path(place))) is not None:
                print(f"resomap: {sentence}", file=sys.stderr, flush=True)
                return
        printing(api, error)

    of.print_exception = print_sentence
