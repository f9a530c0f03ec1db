"""Trainings on a machine that other programs use: `python -m benchmarks.loaded [--busy 0 2 4 10] [--rounds 5]`.

Trains a small network on drawn images with two threads, once for each way of waiting: threads that have nothing to do
spin for a while, in the hope of work, before they sleep. One process a way takes turns with the others for some seconds
each, alone and beside busy processes, and a Markdown table has images/s: the median over the rounds with its range, and
the ratio to the default of the same round. All ways must end the same steps with the same weights, to the bit.

The variables are those of the OpenMP library that torch brings, GNU's libgomp, which reads them when it is loaded.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from resomap.bench.ratios import median_and_range

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
FIRST_STEPS = 8  # of which the weights are compared


@dataclass(frozen=True)
class Way:
    """Way of waiting: variables of the environment, and how much the process gives way to others."""

    variables: dict[str, str] = field(default_factory=dict)
    nice: int = 0


DEFAULT = "default"
WAYS = {
    DEFAULT: Way(),
    "passive": Way({"OMP_WAIT_POLICY": "PASSIVE"}),
    "spin count 0": Way({"GOMP_SPINCOUNT": "0"}),
    "spin count 1,000": Way({"GOMP_SPINCOUNT": "1000"}),
    "spin count 10,000": Way({"GOMP_SPINCOUNT": "10000"}),
    "spin count 100,000": Way({"GOMP_SPINCOUNT": "100000"}),
    "nice 5": Way(nice=5),
}


class Trainer:
    """Process that trains in one way, and only when it is told to."""

    def __init__(self, way: Way, given: argparse.Namespace) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        options = ("--model", given.model, "--resolution", str(given.resolution), "--threads", str(given.threads))
        real_time = ["--real-time"] if given.real_time else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.loaded", "--worker", *options, "--nice", str(way.nice), *real_time],
            env={**kept, **way.variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def first_weights(self) -> str:
        """Return the digest of the weights after the first steps, once the process has made them."""
        return str(self._answer()["weights"])

    def rate(self, seconds: float) -> float:
        """Train for so many seconds, and to the end of the step; return images/s."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)
        return float(self._answer()["rate"])

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process that trains has ended")
        return dict(json.loads(line))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="test_resnet")
    parser.add_argument("--resolution", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 2, 4, 10], help="busy processes beside the training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--real-time", action="store_true", help="measure as if nothing else ran (as root): with --busy 0, under 0.9 s"
    )
    parser.add_argument("--nice", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends all processes that were started
    ways = list(dict.fromkeys([DEFAULT, *given.ways]))
    with ExitStack() as running:
        trainers = {}
        for name in ways:
            trainers[name] = trainer = Trainer(WAYS[name], given)
            running.callback(trainer.end)
        weights = {name: trainer.first_weights() for name, trainer in trainers.items()}
        if len(set(weights.values())) > 1:
            raise SystemExit(f"the ways end with different weights: {weights}")
        load = f"load before {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        what = f"{given.model}, {given.resolution} px, {given.threads} threads"
        print(f"{what}{', before all others' if given.real_time else ''}; the same weights in all ways; {load}\n")
        print("| busy processes | way | images/s | ratio to the default |\n|---|---|---|---|")
        for busy in given.busy:
            with beside(busy):
                rounds = [measured(trainers, number, given.seconds) for number in range(given.rounds)]
            for name in ways:
                rates = [one[name] for one in rounds]
                ratios = [one[name] / one[DEFAULT] for one in rounds]
                form = ".0f" if statistics.median(rates) >= 20 else ".1f"
                print(f"| {busy} | {name} | {median_and_range(rates, form)} | {median_and_range(ratios, '.2f')} |")
            sys.stdout.flush()


def measured(trainers: dict[str, Trainer], number: int, seconds: float) -> dict[str, float]:
    """Measure each way once, in turn; each round begins with another one, and every second one goes backwards."""
    names: Sequence[str] = list(trainers)
    names = [*names[number % len(names) :], *names[: number % len(names)]][:: -1 if number % 2 else 1]
    return {name: trainers[name].rate(seconds) for name in names}


@contextmanager
def beside(busy: int) -> Iterator[None]:
    """Run so many processes that do nothing but compute."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def before_all_others() -> Iterator[None]:
    """Have the threads of this process run before those of all other programs; the kernel takes 0.05 s of each second.

    Raises PermissionError for a user who is not root.
    """

    def put(policy: int, priority: int) -> None:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))

    put(os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        put(os.SCHED_OTHER, 0)


def work(given: argparse.Namespace) -> None:
    """Train as the process of one way: the first steps, then for as many seconds as each line of the input says."""
    os.nice(given.nice)
    from benchmarks.loaded_training import EndlessTraining

    training = EndlessTraining(given.model, given.resolution, given.threads)
    training.go_on(lambda: training.steps >= FIRST_STEPS)
    print(json.dumps({"weights": training.digest()}), flush=True)
    for line in sys.stdin:
        before, began = training.images, time.monotonic()
        end = began + float(line)
        with before_all_others() if given.real_time else nullcontext():
            training.go_on(lambda end=end: time.monotonic() >= end)  # type: ignore[misc]
        print(json.dumps({"rate": (training.images - before) / (time.monotonic() - began)}), flush=True)


if __name__ == "__main__":
    main()
