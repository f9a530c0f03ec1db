"""Signals that ask a training to stop at the next step; a second kind of signal ends it at once."""

import os
import signal
import time
from types import FrameType

# A terminal sends Ctrl-C to all processes of a run, and Snakemake's passes it on to its trainings.
ONE_MOMENT_SECONDS = 0.5
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class SignalWatch:
    """Context in which SIGTERM, SIGINT and SIGUSR1/2 are remembered in place of acted on.

    Slurm delivers SIGTERM twice, so a repetition changes nothing. A different second signal, or a repeated SIGINT
    (a person pressing Ctrl-C again, not in the same moment), exits at once with the shell's code for that signal.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "SignalWatch":
        for number in WATCHED:
            self._before[number] = signal.signal(number, self._remember)
        # A job's Snakemake starts its training with SIGTERM held back: one that came by now is heard here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def stay_deaf(self) -> None:
        """Ignore these signals from here to the end of the process.

        A training that is done must not be called a failure because a signal arrives while its interpreter ends.
        """
        self._before = dict.fromkeys(WATCHED, signal.SIG_IGN)

    @property
    def name(self) -> str:
        """Name of the received signal, for a person."""
        return self.received.name if self.received else "no signal"

    def seconds_ago(self) -> float:
        """Seconds since the signal arrived, 0 without one."""
        return time.monotonic() - self._received_at if self.received else 0.0

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        arrived = signal.Signals(number)
        if self.received is None:
            self.received, self._received_at = arrived, time.monotonic()
        elif self.seconds_ago() < ONE_MOMENT_SECONDS and arrived is self.received:
            return
        elif arrived is not self.received or arrived is signal.SIGINT:
            os._exit(128 + number)
