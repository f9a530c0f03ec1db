"""Timing of a forward pass: warmed up, many times, each run waited for."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Run = Callable[[], object]

WARM_UP_SHARE = 0.25  # of the time that is measured
LOOK_SHARE = 0.1  # of that time, between two looks at whether the runs are steady
STEADY = 0.1  # highest spread of steady runs, as in torch.utils.benchmark's adaptive_autorange


@dataclass(frozen=True)
class Quartiles:
    """Median and quartiles of the runs, half of which lie between the quartiles; from at least one run."""

    median: float
    q1: float
    q3: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quartiles":
        """Return the quartiles of values, interpolated between neighbours (numpy's default as well)."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3, len(values))

    @property
    def spread(self) -> float:
        """Distance of the quartiles in units of the median."""
        return (self.q3 - self.q1) / self.median if self.median else 0.0

    @property
    def is_steady(self) -> bool:
        """True if more runs would hardly change the median."""
        return self.spread <= STEADY

    def rate(self, amount: float) -> "Quartiles":
        """Return amounts a second from times in seconds, each run handling `amount`. A long run is a low rate."""
        return Quartiles(amount / self.median, amount / self.q3, amount / self.q1, self.runs)

    def scaled(self, factor: float) -> "Quartiles":
        """Return the quartiles in another unit."""
        return Quartiles(self.median * factor, self.q1 * factor, self.q3 * factor, self.runs)


def timed_runs(
    run: Run, device: torch.device, seconds: float, least_runs: int, steady_after: int | None = None
) -> list[float]:
    """Return the seconds of each run, repeated until `seconds` have passed, but at least `least_runs` times.

    It is warmed up first, for a quarter of that time and at least once: the first runs choose algorithms, compile
    kernels and raise clock rates. With `steady_after` it ends sooner where so many runs or more are steady. Times come
    from CUDA events on a GPU, from the monotonic clock on a CPU. Raises what `run` raises.
    """
    once = _by_events if device.type == "cuda" else _by_clock
    started = time.monotonic()
    once(run)
    while time.monotonic() - started < seconds * WARM_UP_SHARE:
        once(run)
    times: list[float] = []
    started = time.monotonic()
    looks = 0
    while len(times) < least_runs or time.monotonic() - started < seconds:
        times.append(once(run))
        looked = int((time.monotonic() - started) / (seconds * LOOK_SHARE))
        if steady_after is not None and looked > looks and len(times) >= max(least_runs, steady_after):
            looks = looked
            if Quartiles.of(times).is_steady:
                break
    return times


def _by_clock(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _by_events(run: Run) -> float:
    """Return the time on the GPU from the first to the last kernel, gaps in which it waits for the CPU included."""
    started, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    started.record()
    run()
    ended.record()
    ended.synchronize()
    return started.elapsed_time(ended) / 1000
