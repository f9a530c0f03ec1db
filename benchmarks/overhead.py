"""Wall time of a grid beyond its training steps, by kind of process: the tables of docs/speed.md.

    python -m benchmarks.overhead                       # this version
    python -m benchmarks.overhead --before d1ea96b      # a revision of the repository and this version, in turn

Two grids run with the plain command: `quick` is config/quick.yaml with timm's networks for tests (the bundled images,
2 models x 3 resolutions), `photos` are 240 drawn photos with 3 models x 3 resolutions x 2 seeds. `--grids quick.yaml`
runs config/quick.yaml as it is, which takes ten minutes. Every Python process notes when it began and ended, its time
on the processors, and whether it imported torch. Wall times hold for a machine on which nothing else runs meanwhile;
processor times hardly change with the load.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from resomap.core.files import read_json

ROOT = Path(__file__).resolve().parents[1]
QUICK = ROOT / "config" / "quick.yaml"
MODELS = ["test_resnet", "test_efficientnet", "test_convnext"]
NOTES = "processes.jsonl"
# Loaded by each Python of a run.
TRACER = f"""
import atexit, json, os, sys, time
process = {{"began": time.time(), "words": sys.orig_argv, "torch": None}}
def forked():
    process.update(began=time.time(), words=[sys.executable, "-m", "forked"], torch=False)
os.register_at_fork(after_in_child=forked)
def note():
    spent = os.times()
    # Those that a sender process forks write no notes.
    cpu = sum(spent[:4] if "resomap.tracking.sender_process" in process["words"] else spent[:2])
    entry = {{**process, "ended": time.time(), "cpu": cpu}}
    if entry["torch"] is None:
        entry["torch"] = "torch" in sys.modules
    with open({NOTES!r}, "a") as stream:
        stream.write(json.dumps(entry) + "\\n")
atexit.register(note)
"""


@dataclass(frozen=True)
class Run:
    """One run of a grid. Times in seconds."""

    wall: float
    training: float  # in which at least one training made steps or validated
    steps: Counter[str]  # wall time of the processes of each step
    starts: Counter[str]  # processes of each step, those that were forked from another one under `forked`
    cpu: float  # time of all processes on the processors
    torch: Counter[str]  # those of them that imported torch

    @property
    def beyond(self) -> float:
        """Wall time that is no training."""
        return self.wall - self.training


def main() -> None:
    """Measure and print a Markdown table for each grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="REVISION", help="run this revision too, before this version")
    parser.add_argument("--grids", nargs="+", choices=("quick", "photos", QUICK.name), default=["quick", "photos"])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--photos", type=int, nargs=3, default=[3, 3, 2], metavar=("MODELS", "RESOLUTIONS", "SEEDS"))
    parser.add_argument("--at-once", type=int, default=1, help="trainings at a time, in this version alone")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        versions = {"after": ROOT}
        if given.before:
            versions = {"before": checkout(given.before, place / "before"), **versions}
        for grid in given.grids:
            config = make_config(grid, place, *given.photos)
            runs = {}
            for version, root in versions.items():
                at_once = {"gpu": {"per_device": given.at_once}} if root is ROOT and given.at_once > 1 else {}
                runs[version] = measure(root, place / f"{grid}-{version}", config | at_once, given.cores)
                print(f"{grid} {version}: {runs[version].wall:.0f} s", file=sys.stderr, flush=True)
            print_table(grid, config, runs)


def checkout(revision: str, place: Path) -> Path:
    """Write the files of a revision to a folder and return it."""
    place.mkdir()
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return place


def make_config(grid: str, place: Path, models: int, resolutions: int, seeds: int) -> dict[str, Any]:
    """Return the configuration of a grid; draws its photos where it has some."""
    if grid in ("quick", QUICK.name):
        config: dict[str, Any] = yaml.safe_load(QUICK.read_text())
        return config | ({"models": MODELS[:2]} if grid == "quick" else {})
    photos = place / "photos"
    draw_photos(photos)
    return {
        "models": MODELS[:models],
        "resolutions": [32, 48, 64][:resolutions],
        "seeds": list(range(seeds)),
        "data": {"source": str(photos)},
        "training": {"epochs": 3, "early_stopping": {"enabled": False}},
    }


def draw_photos(folder: Path, count: int = 240, size: tuple[int, int] = (400, 300)) -> None:
    """Draw JPEG photos of two classes, coarse and fine texture."""
    draw = np.random.default_rng(0)
    for number in range(count):
        label, cells = (("coarse", 10), ("fine", 40))[number % 2]
        noise = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        path = folder / label / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)


def measure(root: Path, directory: Path, config: dict[str, Any], cores: int) -> Run:
    """Run a grid with the version of the code in `root`."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(TRACER.replace(repr(NOTES), repr(str(directory / NOTES))))
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    words = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--quiet", "progress"]
    words += ["--directory", str(directory), "--configfile", str(directory / "study.yaml")]
    began = time.monotonic()
    with (directory / "log").open("w") as log:
        done = subprocess.run(
            words,
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{root}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    wall = time.monotonic() - began
    if done.returncode:
        raise SystemExit((directory / "log").read_text())
    time.sleep(5)  # until the processes have ended that end with the run
    steps: Counter[str] = Counter()
    starts: Counter[str] = Counter()
    torch: Counter[str] = Counter()
    cpu = 0.0
    for line in (directory / NOTES).read_text().splitlines():
        entry = json.loads(line)
        step = step_of(entry["words"])
        steps[step] += entry["ended"] - entry["began"]  # type: ignore[assignment]
        starts[step] += 1
        cpu += entry["cpu"]
        torch[step] += entry["torch"]
    trained = [trained_in(path) for path in directory.glob("results/*/*.done")]
    return Run(wall, seconds_of_any(trained), steps, starts, cpu, torch)


def trained_in(marker: Path) -> tuple[float, float]:
    """Return from when to when a training made steps and validations, in seconds of the clock (to a second)."""
    seconds = read_json(marker)["cost"]["train_seconds"]
    lines = marker.with_suffix(".log").read_text().splitlines()
    last = next(line for line in reversed(lines) if re.search(r" epoch \d+/\d+: ", line))
    end = datetime.fromisoformat(last[:19]).timestamp()
    return end - seconds, end


def seconds_of_any(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of the spans lasts."""
    found, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        found += max(0.0, end - max(begin, until))
        until = max(until, end)
    return found


def step_of(words: list[str]) -> str:
    """Return the name of a process by its command line: a step of the workflow, a module, or Snakemake."""
    if "resomap" in words:
        return words[words.index("resomap") + 1]
    if "-m" in words:
        return words[words.index("-m") + 1]
    return next((Path(word).name for word in words[1:] if not word.startswith("-")), "python")


def print_table(grid: str, config: dict[str, Any], runs: dict[str, Run]) -> None:
    """Print the wall times, then the processes of each step."""
    cells = len(config["models"]) * len(config["resolutions"]) * len(config.get("seeds", [0]))
    print(f"\n{grid}: {cells} cells, models {', '.join(config['models'])}, resolutions {config['resolutions']}\n")
    print("| | wall, s | training, s | beyond training, s | a cell, s | processors, s | processes that import torch |")
    print("|---|---|---|---|---|---|---|")
    for version, run in runs.items():
        print(
            f"| {version} | {run.wall:.0f} | {run.training:.0f} | {run.beyond:.0f} | {run.beyond / cells:.1f} "
            f"| {run.cpu:.0f} | {sum(run.torch.values())} |"
        )
    if len(runs) > 1:
        before, after = runs.values()
        print(f"\nBeyond training: {before.beyond / after.beyond:.1f} times as fast.")
    print(f"\n| process | {' | '.join(f'{version}: starts (with torch), s' for version in runs)} |")
    print(f"|---|{'---|' * len(runs)}")
    for step in sorted({step for run in runs.values() for step in run.steps}):
        cells_of = (f"{run.starts[step]} ({run.torch[step]}), {run.steps[step]:.1f}" for run in runs.values())
        print(f"| {step} | {' | '.join(cells_of)} |")


if __name__ == "__main__":
    main()
