"""Cost measurements of several networks in one process, which take turns: what disturbs the machine meets them all.

Measured one behind the other, minutes apart, networks of one cost look unlike as soon as something else starts. A
session that is not of the whole grid has a network beside it that was measured before, and says what that one takes
now.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from resomap.cells.measurement import Measurement
from resomap.cells.study import Study
from resomap.compute.memory import own_bytes
from resomap.cost.end_to_end import EndToEnd
from resomap.cost.measure import Subject
from resomap.cost.peak_memory import return_freed_memory
from resomap.cost.runtime_figures import ROUNDS
from resomap.cost.target_cores import held_on
from resomap.cost.threads import Threads
from resomap.data import DATA_DIRECTORY

# Of the memory that the process may take, for the weights of networks that wait for their turn.
WAITING_SHARE = 0.25


def reasons_of(measurement: Measurement, content: dict[str, Any]) -> list[str]:
    """Return why figures are missing, one sentence each."""
    return [f"{measurement.name}: no {what}: {why}" for what, why in content["reasons"].items()]


def measure_together(
    measurements: Sequence[Measurement],
    study: Study,
    classes: int,
    threads: int,
    memory_bytes: int,
    reference: Measurement | None = None,
) -> dict[Measurement, dict[str, Any]]:
    """Measure networks in turns; return the content of each one's file.

    `memory_bytes`: what this process may take on a CPU. `reference` names a network that was measured before.
    On a CPU all threads of this process are held on as many cores as it computes with, and given back theirs behind
    it. Raises ResomapError where the machine is at fault: no GPU, or one that fails.
    """
    load = os.getloadavg()[0]  # before this process adds its own
    known = _latency(reference.read(reference.settings(study, classes))) if reference else None
    beside = [reference] if reference and known else []
    found: dict[Measurement, dict[str, Any]] = {}
    whole = EndToEnd.of(DATA_DIRECTORY, study.config.data.fit)
    held = Threads.on(measurements[0].kind, threads)
    subjects = (Subject(one, study, classes, held, memory_bytes, whole) for one in (*beside, *measurements))
    before = _Spent.now()
    with held_on(held.cores):
        for group in _groups(subjects, int(memory_bytes * WAITING_SHARE)):
            found |= _measured(group)
    drift: dict[str, Any] | None = None
    if reference and beside:
        now = _latency(found.pop(reference, None))
        drift = {
            "model": reference.model,
            "resolution": reference.resolution,
            "latency_ms_before": known,
            "latency_ms_now": now,
        }
    beside_it = {"load_average": load, "other_programs_cores": before.cores_of_others(), "reference": drift}
    return {one: {**content, **beside_it} for one, content in found.items()}


@dataclass(frozen=True)
class _Spent:
    """Seconds until some moment: of the clock, of this process on processors, of all processes there."""

    clock: float
    own: float
    all: float

    @classmethod
    def now(cls) -> "_Spent":
        own, machine = psutil.Process().cpu_times(), psutil.cpu_times()
        idle = machine.idle + getattr(machine, "iowait", 0.0)
        # What guests take stands in `user` too.
        guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return cls(time.monotonic(), own.user + own.system, sum(machine) - idle - guests)

    def cores_of_others(self) -> float:
        """Return the cores that other processes took from then to now, on average."""
        now = _Spent.now()
        others = (now.all - self.all) - (now.own - self.own)
        return round(max(0.0, others / max(now.clock - self.clock, 1e-9)), 2)


def _measured(group: list[Subject]) -> dict[Measurement, dict[str, Any]]:
    """Measure the subjects in turns; none of them is held here when their group ends."""
    for number in range(ROUNDS):
        for subject in group:
            subject.time_round(number)
    return {subject.measurement: subject.content() for subject in group}


def _groups(subjects: Iterator[Subject], waiting_bytes: int) -> Iterator[list[Subject]]:
    """Yield the subjects, prepared, in groups that may wait in main memory together; a group ends with its turn.

    What they hold is their weights, or how far this process has grown: runtimes keep memory of their own.
    """
    group: list[Subject] = []
    before = _bytes_in_use()
    for subject in subjects:
        subject.prepare()
        group.append(subject)
        if max(sum(one.waiting_bytes for one in group), own_bytes() - before) > waiting_bytes:
            yield group
            group.clear()  # the caller holds the same list, while the next ones are prepared
            del subject
            before = _bytes_in_use()
    if group:
        yield group


def _bytes_in_use() -> int:
    """Return the bytes that this process holds, less what it has freed: a group would grow into that unseen."""
    return_freed_memory()
    return own_bytes()


def _latency(content: dict[str, Any] | None) -> float | None:
    return content.get("latency_ms_median") if content else None
