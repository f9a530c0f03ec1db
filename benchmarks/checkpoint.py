"""What checkpoints cost: `python -m benchmarks.checkpoint [--model vgg16] [--epochs 12] [--repeats 3]`.

Trains one cell over and over, in turn without a checkpoint before the end and with one every 20 seconds, and prints a
Markdown table: size, seconds a save, how long a save holds up the training (also as a share of the default interval),
seconds to load. Times are of the markers, paired by repeat; the machine should have nothing else to do.
"""

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.studies import draw_images, make_study, start_training, train_seconds
from resomap import shelf
from resomap.config import Config
from resomap.study import Study
from resomap.train.checkpoint import load_sealed, on_cpu, save_sealed

RESOLUTION, IMAGES = 32, 160
EVERY_MINUTES = 1 / 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What checkpoints cost a training.")
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        draw_images(Path(place, "images"), IMAGES, RESOLUTION)
        stalls: list[float] = []
        for repeat in range(given.repeats):
            plain, _ = _train(Path(place, f"{repeat}-plain"), given, every_minutes=1e6)
            saving, saves = _train(Path(place, f"{repeat}-saving"), given, every_minutes=EVERY_MINUTES)
            if saves < 1:
                raise SystemExit("the training ended before its first save; give it more --epochs")
            stalls.append((saving - plain) / saves)
            print(f"{plain:.1f} s without, {saving:.1f} s with {saves} saves", file=sys.stderr, flush=True)
        _print_table(Path(place, "0-saving"), given.model, stalls)


def _train(directory: Path, given: argparse.Namespace, every_minutes: float) -> tuple[float, int]:
    """Seconds of training, and the checkpoints that it wrote before its end."""
    config = {
        "models": [given.model],
        "resolutions": [RESOLUTION],
        "data": {"source": str(directory.parent / "images")},
        "training": {"epochs": given.epochs, "batch_size": 16, "early_stopping": {"enabled": False}},
        "checkpoints": {"every_minutes": every_minutes, "keep": ["best", "last"]},
        "tracking": {"drain_seconds": 0},
    }
    study = make_study(directory, config)
    last, seen = directory / study.cells()[0].checkpoints / "last.pt", set()
    process = start_training(study, directory)
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            seen.add(last.stat().st_mtime_ns)
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"the training in {directory} failed")
    return train_seconds(study, directory), len(seen) - 1  # the last one is that of the end


def _print_table(directory: Path, model: str, stalls: list[float]) -> None:
    with contextlib.chdir(directory):
        study = Study.load()
        cell = study.cells()[0]
        last, best = cell.checkpoints / "last.pt", cell.checkpoints / "best.pt"
        copy = load_sealed(last)
        rows = [
            ("size of `last.pt`", f"{last.stat().st_size / 1e6:.0f} MB"),
            ("size of `best.pt`", f"{best.stat().st_size / 1e6:.0f} MB"),
            ("copy of the state, while the training waits", _seconds(lambda: on_cpu(copy))),
            ("save, beside the training", _seconds(lambda: save_sealed(Path("copy.pt"), copy))),
            ("load and verify `last.pt`, copied into a state", _seconds(lambda: on_cpu(load_sealed(last)))),
            ("load and verify `best.pt`", _seconds(lambda: load_sealed(best))),
            ("find out what a cell's directory holds", _seconds(lambda: shelf.held_fingerprint(cell), unit="ms")),
        ]
    stall = statistics.median(stalls)
    interval = 60 * Config().checkpoints.every_minutes
    spread = ", ".join(f"{value:.1f}" for value in stalls)
    rows.append(("a save makes the training longer by", f"{stall:.1f} s ({spread})"))
    rows.append((f"... of the default interval of {interval:.0f} s", f"{100 * stall / interval:.1f} %"))
    print(f"| {model}, AdamW | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def _seconds(work: Callable[[], object], unit: str = "s", repeats: int = 5) -> str:
    """The median of some calls, the first of which only warms the page cache."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    median = statistics.median(times[1:])
    return f"{1000 * median:.2f} ms" if unit == "ms" else f"{median:.2f} s"


if __name__ == "__main__":
    main()
