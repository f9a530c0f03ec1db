"""Survey of model names, from planning to the marker: `python -m benchmarks.survey [--timm 300] [--minutes 60]`.

Plans every classifier of torchvision and so many of timm's, spread over its families, at three sizes, and trains those
that are small enough for one epoch on a few images. Each outcome is a line of the journal, so the same command goes on
after an interruption; at its end it writes what was refused or failed, with the reason, to benchmarks/refusals.csv.
Hours on two cores.
"""

import argparse
import collections
import csv
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resomap.cells.marker import Marker
from resomap.cells.study import CURRENT, Study
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.models.fits import Size
from resomap.models.index import ModelEntry, load_index

RESOLUTIONS = [64, 128, 224]
IMAGES = 12  # of each of two classes
REFUSALS = Path(__file__).with_name("refusals.csv")
MOST_WEIGHTS, MOST_FLOPS = 48e6, 0.5e9  # bytes, and FLOPs of one image, of a network that is trained too
AT_ONCE = 20  # names in one process


def main() -> None:
    """Survey what the journal lacks; write the list of refusals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timm", type=int, default=300, help="names of timm at least")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--journal", type=Path, default=Path("survey.jsonl"))
    parser.add_argument("--worker", action="store_true", help="take names from stdin (used by the command itself)")
    given = parser.parse_args()
    if given.worker:
        work(json.load(sys.stdin))
        return
    rows = read(given.journal)
    end = time.monotonic() + 60 * given.minutes
    done = {(row["model"], row["resolution"]) for row in rows}
    missing = [name for name in names(given.timm) if not all((name, size) in done for size in RESOLUTIONS)]
    with given.journal.open("a") as journal:
        while missing and time.monotonic() < end:
            for row in outcomes(missing[:AT_ONCE]):
                rows.append(row)
                journal.write(json.dumps(row) + "\n")
                journal.flush()
            del missing[:AT_ONCE]
    write_refusals(rows)
    counts = collections.Counter(row["outcome"] for row in rows)
    print(f"{len({row['model'] for row in rows})} names, {len(missing)} left: {dict(counts)}")


def names(of_timm: int) -> list[str]:
    """Return torchvision's names, then timm's: one of each of its modules in turn, until there are enough."""
    index = load_index()
    entries = [index.entry(name) for name in index.names() if "." not in name]
    by_family: dict[str, list[ModelEntry]] = {}
    for entry in entries:
        if entry.library == "timm":
            by_family.setdefault(entry.family, []).append(entry)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_family.values()))
    taken = itertools.islice((entry.name for entry in turns if entry is not None), of_timm)
    return [entry.name for entry in entries if entry.library == "torchvision"] + list(taken)


def read(journal: Path) -> list[dict[str, Any]]:
    """Return the journal's rows; a torn last line is left out."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def outcomes(wanted: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of some names from a process of their own; what it was at when it died has failed."""
    while wanted:
        command = [sys.executable, "-m", "benchmarks.survey", "--worker"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(json.dumps(wanted))
            worker.stdin.close()
            seen: list[str] = []
            for line in worker.stdout:
                if line.startswith("{"):
                    row = json.loads(line)
                    seen.append(row["model"])
                    yield row
        if worker.returncode == 0:
            return
        at = wanted.index(seen[-1]) if seen else 0
        if seen.count(wanted[at]) == len(RESOLUTIONS):
            at += 1
        if at < len(wanted):
            yield {"model": wanted[at], "resolution": 0, "outcome": "failed", "reason": f"exit {worker.returncode}"}
        wanted = wanted[at + 1 :]


def work(wanted: list[str]) -> None:
    """Print the outcome of each name at each resolution, one JSON line each."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        study = make_study(Path(folder, "images"))
        for name, resolution in itertools.product(wanted, RESOLUTIONS):
            row = {"model": name, "resolution": resolution, **outcome(study, name, resolution)}
            print(json.dumps(row), flush=True)


def outcome(study: Study, name: str, resolution: int) -> dict[str, str]:
    """Plan one model at one resolution, and train it where it is small: its outcome, and the reason where it is bad."""
    from resomap.models.probe import try_pairs
    from resomap.train.attempt import train_cell
    from resomap.train.request import Request

    answer = try_pairs([(name, resolution)])[f"{name}@{resolution}"]  # as the plan's child process does
    if isinstance(answer, str):
        return {"outcome": "refused", "reason": answer}
    size = Size(**answer)  # type: ignore[arg-type]
    uncounted = size.reason or ""
    if size.weights > MOST_WEIGHTS or size.forecast_flops(resolution) > MOST_FLOPS:
        return {"outcome": "planned", "reason": uncounted}
    try:
        cell = study.cell(name, resolution)
        train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
    except Exception as error:  # whatever it is: it is the finding
        return {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"}
    return {"outcome": "trained" if Marker.read(cell.marker) else "failed", "reason": uncounted}


def make_study(folder: Path) -> Study:
    """Prepare a study of two classes of noise, in the working directory."""
    random = np.random.default_rng(0)
    for label, number in itertools.product(("dark", "light"), range(IMAGES)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        pixels = random.normal(90 if label == "dark" else 160, 30, (64, 64)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{number}.png")
    training = {"epochs": 1, "batch_size": 8, "amp": "off"}
    study = Study.open(
        {
            "models": ["resnet18"],
            "resolutions": RESOLUTIONS,
            "device": "cpu",
            "data": {"source": str(folder)},
            "training": training,
            "tracking": {"drain_seconds": 0},
            "checkpoints": {"keep": []},
        }
    )
    study.save(CURRENT)
    make_manifest(study.config.data, DATA_DIRECTORY, 1)
    for resolution in RESOLUTIONS:
        prepare_images(DATA_DIRECTORY, resolution, 1, study.config.data.on_disk)
    return study


def write_refusals(rows: list[dict[str, Any]]) -> None:
    """Write what was refused or failed, and what could not be counted, sorted by name."""
    told = [row for row in rows if row["outcome"] in ("refused", "failed") or row["reason"]]
    told.sort(key=lambda row: (row["model"], row["resolution"]))
    with REFUSALS.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["model", "resolution", "outcome", "reason"])
        writer.writerows([row["model"], row["resolution"], row["outcome"], row["reason"]] for row in told)


if __name__ == "__main__":
    main()
