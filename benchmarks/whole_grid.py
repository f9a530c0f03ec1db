"""Trainings of a whole grid, a few steps each: one at a time, and several at a time on one device, in turn.

    python -m benchmarks.whole_grid --folder build/whole-grid                        # 40 cells, 20 steps each, on a GPU
    python -m benchmarks.whole_grid --at-once 2 --device cpu --models test_resnet --resolutions 32 48 --images 200

Each training is a process of `resomap train`, the longest first; the next one starts when one ends. The table has the
wall times of both ways, their ratio, and the time of the grid with all its steps that follows: the wall time of the
few steps, times what all trainings take with all steps, over what they took with these. It needs no Snakemake.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.bench.gpu.drawn_images import drawn
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.ratios import Paired, median_and_range
from resomap.bench.test_images import prepare_study
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import CURRENT, Study
from resomap.config.schema import DEFAULT_MODELS, Config
from resomap.core.files import write_json
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
from resomap.estimates.duration import Durations
from resomap.estimates.order import Order
from resomap.train.draws import steps_per_epoch

POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Run:
    """One run of all cells. Times in seconds; `steps` and `rest` are sums over the trainings: of their steps with
    validations, and of all else that their processes did.
    """

    wall: float
    steps: float
    rest: float

    def projected(self, factor: float) -> float:
        """Return the wall time with so many times the steps."""
        return self.wall * (self.rest + factor * self.steps) / (self.rest + self.steps)


def main() -> None:
    """Measure, print a Markdown table, and write `whole-grid.json` into the folder after each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build", "whole-grid"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--models", nargs="+", default=list(DEFAULT_MODELS))
    parser.add_argument("--resolutions", nargs="+", type=int, default=Config().resolutions)
    parser.add_argument("--at-once", type=int, default=4, help="trainings on the device")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=920, help="that are drawn; seven tenths are trained on, in 32s")
    parser.add_argument("--whole-images", type=int, default=1836, help="training images of the grid that is projected")
    parser.add_argument("--whole-epochs", type=int, default=25)
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    study = prepared(folder, given)
    cells = Order(Durations(study, given.device), []).of(study.cells())
    found: dict[int, list[Run]] = {1: [], given.at_once: []}
    for number in range(given.rounds):
        for at_once in (1, given.at_once) if number % 2 else (given.at_once, 1):
            found[at_once].append(run(study, cells, folder / f"round-{number}-{at_once}", at_once))
            write_json(folder / "whole-grid.json", {str(many): [vars(one) for one in of] for many, of in found.items()})
    train = Store.open(folder / "prepared" / DATA_DIRECTORY, given.resolutions[0], ("train",)).split("train")
    steps = steps_per_epoch(len(train.labels), study.config.training.batch_size)
    print_table(found, steps, given.whole_epochs * steps_per_epoch(given.whole_images, 32), len(cells))


def prepared(folder: Path, given: argparse.Namespace) -> Study:
    """Return the study, with its images drawn and prepared below the folder."""
    settings = GpuSettings(place=str(folder), device=given.device, images=given.images)
    config: dict[str, Any] = {
        "models": given.models,
        "resolutions": given.resolutions,
        "device": given.device,
        "data": {"source": str(drawn(settings).folder), "workers": settings.workers},
        "training": {"epochs": 1, "early_stopping": {"enabled": False}},
        "tracking": {"drain_seconds": 0},
    }
    return prepare_study(folder / "prepared", config)


def run(study: Study, cells: Sequence[Cell], place: Path, at_once: int) -> Run:
    """Train all cells in a folder of its own, so many at a time. Raises SystemExit where one fails."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "results").mkdir(parents=True)
    (place / DATA_DIRECTORY).symlink_to(place.parent / "prepared" / DATA_DIRECTORY)
    with contextlib.chdir(place):
        study.save(CURRENT)
    threads = max(1, (os.cpu_count() or 1) // at_once)
    waiting, running, spent = list(cells), {}, 0.0
    began = time.monotonic()
    while waiting or running:
        while waiting and len(running) < at_once:
            process = start(waiting.pop(0), place, threads, at_once)
            running[process] = time.monotonic()
        for process in [one for one in running if one.poll() is not None]:
            spent += time.monotonic() - running.pop(process)
            if process.returncode:
                raise SystemExit(f"a training failed with exit code {process.returncode}; its log is below {place}")
        time.sleep(POLL_SECONDS)
    wall = time.monotonic() - began
    markers = [Marker.read(place / cell.marker) for cell in cells]
    steps = sum(marker.cost.train_seconds or 0.0 for marker in markers if marker)
    return Run(wall, steps, max(0.0, spent - steps))


def start(cell: Cell, place: Path, threads: int, at_once: int) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "resomap", "train", cell.name, "--threads", str(threads), "--share", f"1/{at_once}"]
    return subprocess.Popen(words, cwd=place, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def print_table(found: dict[int, list[Run]], steps: int, whole_steps: int, cells: int) -> None:
    """Print both ways, the ratio of neighbouring rounds, and the projected time of a grid with `whole_steps` each."""
    print(f"\n{cells} cells, {steps} steps each; projected: {whole_steps:,} steps each\n")
    print("| at a time | wall, s | ratio to one at a time | projected, min |\n|---|---|---|---|")
    alone = found[1]
    for at_once, runs in found.items():
        pairs = Paired([one.wall for one in runs], [one.wall for one in alone])
        projected = [one.projected(whole_steps / steps) / 60 for one in runs]
        print(
            f"| {at_once} | {statistics.median(pairs.ours):,.1f} | {median_and_range(pairs.ratios, '.2f')} | "
            f"{median_and_range(projected, ',.1f')} |"
        )


if __name__ == "__main__":
    main()
