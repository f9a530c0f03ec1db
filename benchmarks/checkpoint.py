"""Cost of checkpoints: `python -m benchmarks.checkpoint [--model vgg16] [--epochs 12] [--repeats 3]`.

Trains one cell over and over, in turn without a checkpoint before the end and with one every 20 seconds, and prints a
Markdown table: size, seconds a save, how long a save holds up the training (also as a share of the default interval),
seconds to load. Times are of the markers, paired by repeat; the machine should have nothing else to do.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.images import draw_images
from resomap.bench.checkpoint_stall import Stall, checkpoint_stall
from resomap.bench.ratios import median_and_range
from resomap.cells import archive
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed, on_cpu, save_sealed

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
        config: dict[str, object] = {
            "models": [given.model],
            "resolutions": [RESOLUTION],
            "device": "cpu",
            "data": {"source": str(Path(place, "images"))},
            "training": {"epochs": given.epochs, "batch_size": 16, "early_stopping": {"enabled": False}},
            "tracking": {"drain_seconds": 0},
        }
        stall = checkpoint_stall(Path(place), config, given.repeats, EVERY_MINUTES, threads=1)
        _print_table(Path(place, "saving-0"), given.model, stall)


def _print_table(directory: Path, model: str, stall: Stall) -> None:
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
            ("find out what a cell's directory holds", _seconds(lambda: archive.held_fingerprint(cell), unit="ms")),
        ]
    rows.append(("a save makes the training longer by", f"{median_and_range(stall.a_save, '.1f')} s"))
    rows.append(("... of the default interval", median_and_range(stall.shares(), ".1%")))
    print(f"| {model}, AdamW | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def _seconds(work: Callable[[], object], unit: str = "s", repeats: int = 5) -> str:
    """Return the median of some calls, the first of which only warms the page cache."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    median = statistics.median(times[1:])
    return f"{1000 * median:.2f} ms" if unit == "ms" else f"{median:.2f} s"


if __name__ == "__main__":
    main()
