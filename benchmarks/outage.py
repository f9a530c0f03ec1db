"""Cost of a tracker that hangs to a training: `python -m benchmarks.outage [--epochs 40] [--repeats 5]`.

Trains one small cell over and over, in turn with the local database and with a server that takes connections and
never answers. Prints a Markdown table: seconds of training as the marker has them, and of the whole process, with
their medians' ratio. The machine should have nothing else to do; a CPU is enough.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.images import draw_images
from resomap.bench.test_images import prepare_study
from resomap.bench.train_process import train_once

MODEL, RESOLUTION, IMAGES = "test_resnet", 64, 400


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What a tracker that hangs costs a training.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        draw_images(Path(place, "images"), IMAGES, RESOLUTION)
        trackers = {"local database": None, "server that hangs": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in trackers}
        for repeat in range(given.repeats):
            for name, uri in trackers.items():
                directory = Path(place, f"{repeat}-{name.replace(' ', '-')}")
                times[name].append(_train(directory, Path(place, "images"), uri, given.epochs))
                print(f"{name}: {times[name][-1][0]:.2f} s of training", file=sys.stderr, flush=True)
    print(f"| tracker | training, s (median of {given.repeats}) | range | whole process, s |")
    print("|---|---|---|---|")
    for name, pairs in times.items():
        training, process = zip(*pairs, strict=True)
        spread = f"{min(training):.2f}-{max(training):.2f}"
        print(f"| {name} | {statistics.median(training):.2f} | {spread} | {statistics.median(process):.2f} |")
    local, hanging = (statistics.median(pair[0] for pair in pairs) for pairs in times.values())
    print(f"\nTraining beside a server that hangs takes {hanging / local:.3f} times as long.")


def _train(directory: Path, images: Path, uri: str | None, epochs: int) -> tuple[float, float]:
    """Return the seconds of training, and of the process."""
    config = {
        "models": [MODEL],
        "resolutions": [RESOLUTION],
        "device": "cpu",
        "data": {"source": str(images)},
        "training": {"epochs": epochs, "amp": "off", "early_stopping": {"enabled": False}},
        "tracking": {"uri": uri, "drain_seconds": 0},
    }
    study = prepare_study(directory, config)
    began = time.monotonic()
    return train_once(study, directory, threads=1).seconds, time.monotonic() - began


if __name__ == "__main__":
    main()
