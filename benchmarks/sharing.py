"""Several trainings at a time with a share of the cores each, beside one at a time with all; a table of docs/speed.md.

    python -m benchmarks.sharing                                        # two of 1 thread, beside one of 2
    python -m benchmarks.sharing --trainings 4 --threads 2 --cells resnet50@224
    python -m benchmarks.sharing --whole                                # whole trainings on images, a few minutes more

Steps are those of `resomap/train/slots_search.py`, on noise, each training a process; both ways take turns every few
seconds. Whole trainings are seeds of one cell, as processes of `resomap train`, with their start, validation and
evaluation, of which those of several at a time overlap.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from resomap.bench.ratios import Paired, median_and_range
from resomap.bench.test_images import prepare_study, write_grey
from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.config import parse_config
from resomap.train.slots_search import Question, ask


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainings", type=int, default=2, help="at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each of them; one at a time has all of these")
    parser.add_argument("--cells", nargs="+", default=["test_resnet@64", "resnet18@128"])
    parser.add_argument("--rounds", type=int, default=12, help="of steps")
    parser.add_argument("--seconds", type=float, default=3.0, help="of steps, for each way in each round")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between these, on a machine that others use")
    parser.add_argument("--whole", action="store_true", help="whole trainings too")
    parser.add_argument("--epochs", nargs="+", type=int, default=[12, 2], help="of whole trainings, for each cell")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3, help="of whole trainings")
    given = parser.parse_args()
    began, load = time.monotonic(), os.getloadavg()[0]
    unit = " | trainings/min | ratio" if given.whole else ""
    print(f"| cell | way | images/s in steps | ratio{unit} |\n|---|---|---|---|{'---|---|' if given.whole else ''}")
    for cell, epochs in zip(given.cells, given.epochs, strict=True):
        columns = [steps(cell, given)]
        if given.whole:
            columns.append(whole(cell, epochs, given))
        print_rows(cell, given.trainings, given.threads, columns)
    print(f"\n{time.monotonic() - began:.0f} s; load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after")


def steps(cell: str, given: argparse.Namespace) -> Paired:
    """Return the images a second of steps: of several trainings together, and of one with all threads."""
    model, _, resolution = cell.partition("@")
    config = parse_config({"device": "cpu"}).model_dump()
    answer = ask(
        Question(
            config=config,
            model=model,
            resolution=int(resolution),
            kind="cpu",
            cores=given.trainings * given.threads,
            most=given.trainings,
            seconds=given.seconds,
            rounds=given.rounds,
            pause=given.pause,
        )
    )
    if "rounds" not in answer:
        raise SystemExit(answer["reason"])
    return Paired(answer["rounds"][str(given.trainings)], answer["rounds"]["1"])


def whole(cell: str, epochs: int, given: argparse.Namespace) -> Paired:
    """Return the trainings a minute: of several at a time, and of one after the other."""
    model, _, resolution = cell.partition("@")
    with tempfile.TemporaryDirectory() as name:
        config = {
            "models": [model],
            "resolutions": [int(resolution)],
            "seeds": list(range(given.trainings)),
            "device": "cpu",
            "data": {"source": str(write_grey(Path(name, "images"), given.images).folder), "problems": "skip"},
            "training": {"epochs": epochs, "early_stopping": {"enabled": False}},
            "tracking": {"drain_seconds": 0},
        }
        study = prepare_study(Path(name, "study"), config)

        def rate(at_once: bool) -> Callable[[int], float]:
            return lambda _round: measure(study, Path(name, "study"), given.threads, at_once)

        return Paired.measure(rate(True), rate(False), given.repeats)


def measure(study: Study, prepared: Path, threads: int, at_once: bool) -> float:
    """Train the cells of a study in a copy of its folder, all at a time or each alone with the threads of all.

    Returns trainings a minute, from the start of the first process to the end of the last.
    """
    cells = study.cells()
    with tempfile.TemporaryDirectory(dir=prepared.parent) as name:
        place = Path(name, "study")
        shutil.copytree(prepared, place)
        began = time.monotonic()
        if at_once:
            for process in [start(cell, place, threads) for cell in cells]:
                require(process)
        else:
            for cell in cells:
                require(start(cell, place, threads * len(cells)))
        return 60 * len(cells) / (time.monotonic() - began)


def start(cell: Cell, place: Path, threads: int) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "resomap", "train", cell.name, "--threads", str(threads)]
    return subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def require(process: "subprocess.Popen[bytes]") -> None:
    if process.wait():
        raise SystemExit(f"a training failed with exit code {process.returncode}")


def print_rows(cell: str, trainings: int, threads: int, columns: Sequence[Paired]) -> None:
    """Print both ways of a cell, the second beside the first."""
    shared = f"{trainings} at a time, {threads} thread{'s' if threads > 1 else ''} each"
    alone = f"1 at a time, {trainings * threads} threads"
    first = " | ".join(f"{median_and_range(pair.other, ',.1f')} | 1" for pair in columns)
    second = " | ".join(
        f"{median_and_range(pair.ours, ',.1f')} | {median_and_range(pair.ratios, '.2f')}" for pair in columns
    )
    print(f"| {cell} | {alone} | {first} |\n| {cell} | {shared} | {second} |", flush=True)


if __name__ == "__main__":
    main()
