"""Output of a run whose reader may go away: `snakemake | head`."""

import os
import sys
from typing import Any, TextIO


class Pipe:
    """Standard output or error as it was, but that a run goes on, unread, where nobody reads on.

    Snakemake would end in a traceback, and a training with it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or give up for good."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush, or give up for good."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


def ignore_broken_pipes() -> None:
    """Let this process go on where the reader of its output has gone (BrokenPipeError on stdout and stderr)."""
    sys.stdout, sys.stderr = Pipe(sys.stdout), Pipe(sys.stderr)
