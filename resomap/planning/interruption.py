"""Signals to Snakemake: Ctrl-C of a run, and what a scheduler sends to the jobs of its trainings.

Ctrl-C once: every training saves and ends; twice, all ends at once. Neither looks like a failure.

A terminal sends the signal to all processes, `kill -INT` to Snakemake alone, which would then wait for its jobs: so it
is sent on to them. A training takes two signals of one moment for one. Only the standard library is imported here:
Snakemake loads this module in every run of the environment.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

EXIT_CODE = 128 + signal.SIGINT
_SHOW_CURSOR = "\033[?25h"  # which the bars hide


class Interruption:
    """Answer of this process to SIGINT, from the moment on at which it reads a workflow of ResoMap."""

    def __init__(self) -> None:
        self.is_asked = False  # a person wants the run to stop
        self._is_running = False

    def watch(self) -> None:
        """Take the signal over, unless somebody else has."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_signal)

    def run_begins(self) -> None:
        """Note that jobs begin: from now on trainings have something to save."""
        self._is_running = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._is_running:
            _leave("resomap: interrupted before anything was begun")
        if self.is_asked:
            _pass_on()
            _leave("resomap: ended at once; the same command goes on from the last checkpoints")
        self.is_asked = True
        _say("stopping: what trains saves its checkpoint first (Ctrl-C once more ends it without)")
        _pass_on()
        raise KeyboardInterrupt


# That of this process.
interruption = Interruption()


def leave_termination_to_the_training() -> None:
    """Hold SIGTERM back from this process and from those it starts, until one of them asks for it.

    Slurm sends the signal before a time limit to all processes of a job. Snakemake there would call the job a failure
    whatever its training ended as, and a shell would leave the training behind: only the training has to hear it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _pass_on() -> None:
    """Send the signal to the trainings below this process, and end the other steps, which have nothing to save."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
            if words[1:3] == ["-m", "resomap"]:
                process.send_signal(signal.SIGINT if words[3] == "train" else signal.SIGTERM)
        except (psutil.Error, IndexError):
            continue  # it has just ended


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _leave(sentence: str) -> NoReturn:
    """End this process without a traceback, whatever its threads do."""
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    _say(f"{cursor}{sentence}")
    sys.stdout.flush()
    os._exit(EXIT_CODE)
