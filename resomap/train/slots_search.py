"""Search for how many trainings at a time compute fastest on a device, where `gpu.per_device` is `auto`.

`python -m resomap.train.slots_search` reads a question (`Question`) as JSON from its standard input, and prints
{"rates": {number: images a second of all together, the median of `rounds`}, "rounds": ..., "device": its name}, or
{"reason": why they were not measured}.
Light: its workers (`slot_worker.py`) import torch. Each is a process, as each training is; numbers take turns, so that
what disturbs the machine disturbs all of them.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from resomap.config import parse_config
from resomap.core.errors import Interrupted, ResomapError
from resomap.machine.gpu_lock import bind_gpu
from resomap.machine.mps import join_mps, offer_mps

ROUNDS, SECONDS = 3, 3.0  # of steps, for each number in each round
LIMIT_SECONDS = 300.0  # for all of it


@dataclass(frozen=True)
class Question:
    """Question to be measured: trainings of one model at one resolution, 1 to `most` of them at a time."""

    config: dict[str, Any]
    model: str
    resolution: int
    kind: str  # of the device: cpu or cuda
    cores: int  # for all of them
    most: int
    seconds: float = SECONDS
    rounds: int = ROUNDS
    pause: float = 0.0  # seconds between two measurements, in which other work of the machine goes on


def ask(question: Question) -> dict[str, Any]:
    """Return the answer of a process that measures; a `reason` in place of rates where it fails."""
    words = [sys.executable, "-m", "resomap.train.slots_search"]
    try:
        done = subprocess.run(
            words, input=json.dumps(asdict(question)), capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"it was not over after {LIMIT_SECONDS:.0f} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"reason": lines[-1] if lines else f"exit code {done.returncode}"}
    return dict(json.loads(done.stdout))


def main() -> None:
    """Answer the question on the standard input."""
    question = Question(**json.load(sys.stdin))
    config = parse_config(question.config)
    with contextlib.ExitStack() as stack:
        try:
            if question.kind == "cuda":
                bind_gpu(lambda _sentence: None, stop_waiting=lambda: True)
                if config.gpu.mps:
                    stack.callback(offer_mps())
                    join_mps()
            answer = _measured(question)
        except (ResomapError, Interrupted) as error:
            answer = {"reason": str(error)}
    print(json.dumps(answer))


def _measured(question: Question) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_Worker(question)) for _ in range(question.most)]
        device = {worker.answer() for worker in workers}.pop()
        found: dict[int, list[float]] = {number: [] for number in range(1, question.most + 1)}
        for _ in range(question.rounds):
            for number in found:
                time.sleep(question.pause)
                found[number].append(_rate(workers[:number], question))
    rates = {number: median(of_rounds) for number, of_rounds in found.items()}
    return {"device": device, "rates": rates, "rounds": found}


def _rate(workers: Sequence["_Worker"], question: Question) -> float:
    """Return the images a second of so many workers together, each with its share of the cores."""
    for worker in workers:
        worker.tell([max(1, question.cores // len(workers)), question.seconds])
    return float(sum(worker.answer() for worker in workers))


class _Worker:
    """Process that takes training steps when it is told to."""

    def __init__(self, question: Question) -> None:
        words = [sys.executable, "-m", "resomap.train.slot_worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=dict(os.environ))
        self.tell({"config": question.config, "model": question.model, "resolution": question.resolution})

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, content: Any) -> None:
        """Write a line; a worker that has ended is heard of by its answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{json.dumps(content)}\n")
            self._process.stdin.flush()

    def answer(self) -> Any:
        """Return the next line. Raises ResomapError with the worker's last words where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        _, said = self._process.communicate()
        raise ResomapError((said.strip().splitlines() or [f"exit code {self._process.returncode}"])[-1])


if __name__ == "__main__":
    main()
