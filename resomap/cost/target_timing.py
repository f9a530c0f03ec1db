"""Times of runs and their quartiles, on the machine on which a kit measures (see `resomap.cost.on_target`)."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

STEADY = 0.1  # highest distance of the quartiles, in units of the median
WARM_UP = 0.25  # of the time that is measured
KEPT = 100  # times of a turn that are kept, evenly by rank


def timed(run: Callable[[], Any], seconds: float, least: int, until_steady: bool = False) -> list[float]:
    """Return the seconds of each run, at least one, repeated for a time; warmed up for a quarter of it before."""
    started = time.monotonic()
    run()
    while time.monotonic() - started < seconds * WARM_UP:
        run()
    times: list[float] = []
    started = time.monotonic()
    while len(times) < max(1, least) or time.monotonic() - started < seconds:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
        if until_steady and len(times) >= 10 * least and spread(times) <= STEADY:
            break
    return times


def quartiles(times: Sequence[float]) -> list[float]:
    """Return the lower quartile, the median and the upper quartile of one time or more."""
    return list(statistics.quantiles(times, n=4, method="inclusive")) if len(times) > 1 else [times[0]] * 3


def spread(times: Sequence[float]) -> float:
    """Return the distance of the quartiles in units of the median."""
    q1, median, q3 = quartiles(times)
    return (q3 - q1) / median if median else 0.0


def thinned(times: Sequence[float]) -> list[float]:
    """Return at most KEPT of the times, evenly by rank: a journal of all of them would grow to many MB."""
    ordered = sorted(times)
    step = max(1.0, len(ordered) / KEPT)
    return [ordered[int((place + 0.5) * step)] for place in range(int(len(ordered) / step))]


def columns(name: str, found: Sequence[float]) -> dict[str, float]:
    """Return the quartiles by their columns."""
    q1, median, q3 = found
    return {f"{name}_q1": q1, f"{name}_median": median, f"{name}_q3": q3}
