"""Time until a run has done all it planned: trainings, evaluations, costs, map and report, each by what it took so far.

A pure function of the run's timeline and of the progress of the trainings that run: the bar of a run and
`resomap status` read the same files and so say the same. Earlier runs of the study count until this one knows better.
"""

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resomap.cells.progress import Progress
from resomap.cells.timeline import Event

# Seconds of a step before one of its kind was seen, on a machine at rest; a step that starts no process takes none.
FIRST_SECONDS = {"data": 2.0, "images": 2.0, "microbatch": 8.0, "features": 8.0, "fetch": 2.0}
FIRST_SECONDS |= {"evaluate": 0.5, "costs": 0.65, "map": 1.6, "report": 7.0}
PACE = ("evaluate", "costs", "map", "cost")  # steps that take as long in any study
START_SECONDS = 5.0  # of a training beyond its steps, there
# The first measurement of costs in a run measures all that the run wants; the others take theirs over.
COST_SECONDS, COST_EACH, COST_LATER = 4.0, 4.0, 0.65
FORGETTING = 0.6  # weight of a finished step for each one that finished after it
SAME_MODEL = 6.0  # weight of a cell of the same model among those that correct a prediction
BEHIND_STEPS = 0.5  # share of a training's time beyond its steps that lies behind them
LEAST_SHARE = 0.05  # of a job that should have ended by now
SLOWEST = 20.0  # times a machine at rest
MANY = 3  # kinds of steps, of whose paces the median counts
REMEMBERED = 60  # finished jobs that count


@dataclass
class _Job:
    rule: str
    name: str
    began: float
    ended: float | None = None
    training: float | None = None

    @property
    def seconds(self) -> float:
        return 0.0 if self.ended is None else self.ended - self.began


@dataclass(frozen=True)
class _Cell:
    model: str
    resolution: int
    seconds: float  # predicted before this run


@dataclass
class _Run:
    planned: Mapping[str, int] = field(default_factory=dict)
    cells: dict[str, _Cell] = field(default_factory=dict)
    jobs: dict[str, _Job] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    is_over: bool = False


class Outlook:
    """Outlook on the end of the run that began last, from a study's events in their order."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._run, self._name = _Run(), ""
        self._done: list[_Job] = []  # of all runs, in the order of their ends
        self._cells: dict[str, _Cell] = {}
        # What events tell, until the next one: with thousands of trainings no bar may count anew when it is drawn.
        self._known: dict[Hashable, Any] = {}
        for event in events:
            self.take(event)

    @property
    def run(self) -> str:
        """Name of the run; empty without one, or where it has ended."""
        return "" if self._run.is_over else self._name

    def seconds_to_go(self, now: float, etas: Mapping[str, float] | None = None) -> float | None:
        """Return the seconds until all is done, from the Unix time `now`; None before anything is known.

        `etas`: seconds until the last step of trainings that run, by the names of their cells, where they are known.
        """
        if self._run.is_over or not self._run.planned or not any(job.training for job in self._done):
            return None
        etas = etas or {}
        work, longest, alone, starts = 0.0, 0.0, 0.0, 0
        for rule, count in self._run.planned.items():
            of_rule = [job for job in self._run.jobs.values() if job.rule == rule]
            running = [job for job in of_rule if job.ended is None]
            waiting = max(0, count - len(of_rule))
            if is_training(of_rule, rule):
                left = [self._training_left(job, now, etas) for job in running]
                left += self._trainings_waiting(waiting)
                work, longest = work + sum(left), max([longest, *left])
            else:
                left = [self._left(job, now) for job in running]
                left += [self._step_seconds(rule, number + len(of_rule)) for number in range(waiting)]
                work, alone = (work + sum(left), alone) if rule == "evaluate" else (work, alone + sum(left))
            starts += waiting if self._step_seconds(rule, 0) else 0
        width = self._width()
        return max((work + self._gap() * starts) / width, longest) + alone

    def take(self, event: Event) -> None:
        """Take note of the next event."""
        self._known.clear()
        if event.kind == "begin":
            self._run, self._name = _Run(), event.run
            self._run.cells = {name: _Cell(*entry) for name, entry in (event.cells or {}).items()}
            self._cells |= self._run.cells
        if event.run != self._name:
            return  # of another run beside it, or of one whose beginning is lost
        if event.kind == "plan":
            self._run.planned = event.planned or {}
        elif event.kind == "start":
            self._run.jobs[event.name] = _Job(event.rule, event.name, event.at)
        elif event.kind in ("done", "failed") and (job := self._run.jobs.get(event.name)):
            job.ended, job.training = event.at, event.training
            if event.kind == "done":
                self._done.append(job)
        elif event.kind == "end":
            self._run.is_over = True

    def _trainings_waiting(self, count: int) -> Sequence[float]:
        """Return the predicted seconds of the trainings that have not begun."""
        each = self._once("waiting", self._each_waiting)
        if len(each) == count:
            return each
        mean = sum(each) / len(each) if each else self._training_seconds("")
        return [mean] * count  # which of them is not known

    def _each_waiting(self) -> list[float]:
        return [self._training_seconds(name) for name in self._run.cells if name not in self._run.jobs]

    def _training_seconds(self, name: str) -> float:
        """Return the predicted seconds of a training's job: its steps, and what its process takes beside them."""
        corrections = self._once("corrections", self._corrections)
        cell = self._cells.get(name)
        if cell is None or not corrections:
            return _typical([job.seconds for job in self._done[-REMEMBERED:] if job.training])
        logs, weights = [], []
        for age, (other, log) in enumerate(corrections):
            distance = abs(math.log2(other.resolution / cell.resolution))
            logs.append(log)
            weights.append(FORGETTING**age * (SAME_MODEL if other.model == cell.model else 1) / (1 + distance))
        return cell.seconds * math.exp(_weighted_median(logs, weights)) + self._start_seconds()

    def _corrections(self) -> list[tuple[_Cell, float]]:
        """Return each finished training, the last one first, with the log of its seconds over those predicted."""
        known = [job for job in self._done[-REMEMBERED:] if job.training and job.name in self._cells]
        cells = [(self._cells[job.name], job.training or 0.0) for job in reversed(known)]
        return [(cell, math.log(seconds / cell.seconds)) for cell, seconds in cells]

    def _once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """Return what `compute` gives, computed once after each event."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _start_seconds(self) -> float:
        """Return the seconds that a training's job takes beyond its steps; one that was resumed tells nothing."""
        seconds: float = self._once("start", self._measured_start)
        return seconds

    def _measured_start(self) -> float:
        seen = [job.seconds - job.training for job in self._done if job.training and job.seconds > job.training]
        return _typical(seen) if seen else START_SECONDS

    def _slowness(self) -> float:
        """Return how many times as long as on a machine at rest things take here, over all kinds of steps."""
        times: float = self._once("slowness", self._measured_slowness)
        return times

    def _measured_slowness(self) -> float:
        ratios = [self._start_seconds() / START_SECONDS]
        for rule in PACE:
            seen = [job.seconds for job in self._done[-REMEMBERED:] if job.rule == rule]
            if rule == "cost" and seen:
                *seen, first = sorted(seen)
                ratios.append(first / self._first_cost())
            if seen:
                ratios.append(_typical(seen) / FIRST_SECONDS.get(rule, COST_LATER))
        return min(
            SLOWEST, max(0.5, statistics.geometric_mean(ratios) if len(ratios) < MANY else statistics.median(ratios))
        )

    def _step_seconds(self, rule: str, place: int) -> float:
        """Return the predicted seconds of a job that trains nothing, the `place`-th of its rule in this run."""
        seconds: float = self._once((rule, place == 0), lambda: self._expected(rule, place))
        return seconds

    def _expected(self, rule: str, place: int) -> float:
        seen = [job.seconds for job in self._done[-REMEMBERED:] if job.rule == rule]
        if rule == "cost":
            if place == 0:
                return self._first_cost() * self._slowness()
            return min([COST_LATER * self._slowness(), *seen])
        return _typical(seen) if seen else FIRST_SECONDS.get(rule, 0.0) * self._slowness()

    def _first_cost(self) -> float:
        return COST_SECONDS + COST_EACH * self._run.planned.get("cost", 1)

    def _training_left(self, job: _Job, now: float, etas: Mapping[str, float]) -> float:
        if job.name in etas:
            return etas[job.name] + BEHIND_STEPS * self._start_seconds()
        expected = self._training_seconds(job.name)
        return max(expected - (now - job.began), LEAST_SHARE * expected)

    def _left(self, job: _Job, now: float) -> float:
        expected = self._step_seconds(job.rule, self._place(job))
        return max(expected - (now - job.began), LEAST_SHARE * expected)

    def _place(self, job: _Job) -> int:
        return [other.name for other in self._run.jobs.values() if other.rule == job.rule].index(job.name)

    def _width(self) -> int:
        """Return how many trainings have run at once."""
        trained = [job for job in self._run.jobs.values() if job.training or job.name in self._run.cells]
        if not trained:
            return 1
        return max(sum(other.began <= job.began < (other.ended or math.inf) for other in trained) for job in trained)

    def _gap(self) -> float:
        """Return the seconds between the end of a job and the start of the next, where nothing else runs."""
        busy_until, gaps = None, []
        for job in self._run.jobs.values():  # in the order of their starts
            if busy_until is not None:
                gaps.append(max(0.0, job.began - busy_until))
            busy_until = max(busy_until or 0.0, job.ended or math.inf)
        return sum(gaps) / len(gaps) if gaps else 0.0


def etas(running: Mapping[str, Progress | None]) -> dict[str, float]:
    """Return the seconds until the last step of trainings that run, where they are known, by the names of cells."""
    known = {name: progress.eta_seconds for name, progress in running.items() if progress is not None}
    return {name: seconds for name, seconds in known.items() if seconds is not None}


def is_training(jobs: Iterable[_Job], rule: str) -> bool:
    """Return True for a rule that trains, by its name or its jobs."""
    return rule in ("train", "winner") or rule.endswith(("_train", "_winner")) or any(job.training for job in jobs)


def _typical(seconds: Sequence[float]) -> float:
    """Return the median of seconds in the order in which they were seen; what was seen last weighs more."""
    weights = [FORGETTING ** (len(seconds) - 1 - place) for place in range(len(seconds))]
    return _weighted_median(seconds, weights) if seconds else START_SECONDS


def _weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    pairs = sorted(zip(values, weights, strict=True))
    half, reached = sum(weights) / 2, 0.0
    for value, weight in pairs:
        reached += weight
        if reached >= half:
            return value
    return pairs[-1][0]
