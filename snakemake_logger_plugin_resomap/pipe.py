"""Output streams that ignore BrokenPipeError, for a run whose reader may go away: `snakemake | head`."""

import os
import sys
from typing import Any, TextIO


class Pipe:
    """Standard output or error that discards its text once the reader has gone (BrokenPipeError).

    Otherwise Snakemake would end in a traceback, and a training with it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; discard it, and all that follows, if the reader has gone."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._discard()
            return len(text)

    def flush(self) -> None:
        """Flush the stream; discard all that follows if the reader has gone."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


def ignore_broken_pipes() -> None:
    """Ignore BrokenPipeError on stdout and stderr: this process goes on where the reader of its output has gone."""
    sys.stdout, sys.stderr = Pipe(sys.stdout), Pipe(sys.stderr)
