"""Training process of one cell, as the workflow runs it."""

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.tracking.journal import read_events

POLL_SECONDS = 0.05
RATE = "images_per_second"


@dataclass(frozen=True)
class Trained:
    """Figures of a training from its marker, journal and checkpoints."""

    seconds: float  # of steps: without start, validation and evaluation
    images_per_second: float  # of the last epoch: the first ones share the processor with what is still starting
    saves: int  # checkpoints written before the one of the end


def start_training(study: Study, directory: Path, threads: int | None = None) -> "subprocess.Popen[bytes]":
    """Start the training of the study's first cell; what it says is not shown."""
    words = [
        sys.executable,
        "-m",
        "resomap",
        "train",
        study.cells()[0].name,
        "--threads",
        str(threads or os.cpu_count()),
    ]
    return subprocess.Popen(words, cwd=directory, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def train_once(study: Study, directory: Path, threads: int | None = None) -> Trained:
    """Train the study's first cell to its end; return its figures. Raises ResomapError where it fails."""
    cell = study.cells()[0]
    last, seen = directory / cell.checkpoints / "last.pt", set()
    process = start_training(study, directory, threads)
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            seen.add(last.stat().st_mtime_ns)
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise ResomapError(f"the training of {cell.name} failed; its log is {directory / cell.beside_marker('log')}")
    events, _ = read_events(directory / cell.beside_marker("journal.jsonl"))
    rates = [event["values"][RATE] for event in events if RATE in event.get("values", {})]
    marker = Marker.read(directory / cell.marker)
    if marker is None or marker.cost.train_seconds is None:
        raise ResomapError(f"{directory / cell.marker} does not tell how long the training took")
    return Trained(marker.cost.train_seconds, rates[-1], max(0, len(seen) - 1))
