"""Quality and time of the speed options: `python -m benchmarks.recipe [--epochs 12] [--seeds 0 1 2]`.

Trains resnet18 on the ELPV images at 64 pixels, in turn by the default recipe, by the same with every speed option off,
and by a bare loop (benchmarks/bare_loop.py) on the same split. Prints a Markdown table: accuracy on the test images and
seconds of all processes that it took, images prepared and the test included. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resomap.bench.ratios import median_and_range
from resomap.cells.marker import Marker
from resomap.cells.study import CURRENT, Study
from resomap.core.files import write_json
from resomap.data import DATA_DIRECTORY
from resomap.data.elpv import elpv_root
from resomap.data.manifest import Manifest

MODEL, RESOLUTION = "resnet18", 64
BARE = "a bare loop"
VARIANTS: dict[str, dict[str, Any]] = {
    "default recipe": {},
    "speed options off": {"training": {"amp": "off", "channels_last": False}, "data": {"on_disk": "never"}},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*VARIANTS, BARE)}
    with tempfile.TemporaryDirectory() as place:
        for seed in given.seeds:
            for name, changes in VARIANTS.items():
                directory = Path(place, f"{name.replace(' ', '-')}-{seed}")
                found[name].append(train(directory, changes, given.epochs, seed))
                _say(name, seed, *found[name][-1])
            found[BARE].append(train_bare(Path(place), directory, given.epochs, seed))
            _say(BARE, seed, *found[BARE][-1])
    print_table(found, given.seeds)


def train(directory: Path, changes: dict[str, Any], epochs: int, seed: int) -> tuple[float, float]:
    """Return the accuracy on the test images, and the seconds of the three steps."""
    config = {
        "models": [MODEL],
        "resolutions": [RESOLUTION],
        "seeds": [seed],
        **changes,
        "training": {"epochs": epochs, **changes.get("training", {})},
        "tracking": {"drain_seconds": 0},
    }
    study = Study.open(config)
    directory.mkdir()
    os.chdir(directory)
    study.save(CURRENT)
    cell = study.cells()[0]
    began = time.monotonic()
    for words in (("data", "--workers", "2"), ("images", str(RESOLUTION), "--workers", "2"), ("train", cell.name)):
        _run("resomap", *words)
    seconds = time.monotonic() - began
    marker = Marker.read(cell.marker)
    accuracy = marker.metrics["test/accuracy"] if marker else None
    if accuracy is None:
        raise SystemExit(f"{directory / cell.marker} has no accuracy")
    return accuracy, seconds


def train_bare(place: Path, studied: Path, epochs: int, seed: int) -> tuple[float, float]:
    """Return the accuracy and seconds of the bare loop, on the split of a study."""
    entries = Manifest.load(studied / DATA_DIRECTORY).entries
    images = place / "images.json"
    write_json(images, [[str(elpv_root() / entry.name), entry.label, entry.split] for entry in entries])
    began = time.monotonic()
    options = ("--resolution", str(RESOLUTION), "--epochs", str(epochs), "--seed", str(seed))
    printed = _run(str(Path(__file__).with_name("bare_loop.py")), str(images), *options)
    return json.loads(printed.splitlines()[-1])["test/accuracy"], time.monotonic() - began


def print_table(found: dict[str, list[tuple[float, float]]], seeds: Sequence[int]) -> None:
    """Print medians with the range over the seeds."""
    print(f"| {MODEL}, {RESOLUTION} px | test accuracy (range of {len(seeds)} seeds) | seconds | of the bare loop's |")
    print("|---|---|---|---|")
    bare = [seconds for _, seconds in found[BARE]]
    for name, runs in found.items():
        accuracies, seconds = zip(*runs, strict=True)
        share = statistics.median(one / other for one, other in zip(seconds, bare, strict=True))
        print(f"| {name} | {median_and_range(accuracies, '.1%')} | {median_and_range(seconds, '.0f')} | {share:.2f} |")


def _run(*words: str) -> str:
    """Run a module of this Python or a script; return what it prints. Its remarks go on to the terminal."""
    call = [sys.executable, *(("-m", *words) if not words[0].endswith(".py") else words)]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed with exit code {done.returncode}")
    return done.stdout


def _say(name: str, seed: int, accuracy: float, seconds: float) -> None:
    print(f"{name}, seed {seed}: {accuracy:.1%} in {seconds:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
