"""Rate of `resomap predict`: `python -m benchmarks.predict [--model resnet18] [--resolution 224] [--images 1000]`.

Prints a Markdown table of images a second, in turn and as medians: preparing images as a grid does (decoded, scaled and
stored), the network on images that are prepared, both one after the other, and `resomap predict --output` from the same
files, by as many processes as there are cores and by one. Images are colour JPEG files of `--side` pixels. The machine
should have nothing else to do.
"""

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch

from resomap.bench.test_images import study_of, write_colour
from resomap.compute.checkpoint import FORMAT, save_sealed
from resomap.compute.inference import in_batches
from resomap.data import DATA_DIRECTORY
from resomap.data.prepare import prepare_images
from resomap.data.store import Store
from resomap.evaluation.trained_weights import Weights
from resomap.machine.cpus import available_cores
from resomap.models.build import construct
from resomap.models.survey import entry_of
from resomap.prediction.image_list import listed
from resomap.prediction.networks import Network, trained_network
from resomap.prediction.whole_folders import Asked, write_answers

PREPARED, NETWORK, BOTH = "images prepared", "the network on prepared images", "one after the other"
PREDICT, ALONE = "`resomap predict`", "`resomap predict --workers 1`"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Images a second of `resomap predict`, beside the prepared path.")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512, help="of the JPEG files, in pixels")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        material = write_colour(place / "images", given.images, given.side)
        files = material.files
        study_of(material, place, given.model, [given.resolution])
        weights = untrained_weights(place / "best.pt", given.model, given.resolution)
        network = trained_network([weights], given.device, given.resolution)
        found: dict[str, list[float]] = defaultdict(list)
        with contextlib.chdir(place):
            for _ in range(given.repeats):
                for what, seconds in _round(network, given.resolution, material.folder).items():
                    found[what].append(len(files) / seconds)
    print(f"| {given.model} at {given.resolution} px, {len(files):,} JPEG files of {given.side} px | images/s |")
    print("|---|---|")
    for what, rates in found.items():
        print(f"| {what} | {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) |")


def _round(network: Network, resolution: int, folder: Path) -> dict[str, float]:
    """Return the seconds of each way, once."""
    images = list(listed([folder]))
    with contextlib.redirect_stdout(None):
        seconds = {PREPARED: timed(lambda: prepare_images(DATA_DIRECTORY, resolution, available_cores()))}
    seconds[NETWORK] = timed(lambda: answer_prepared(network, resolution))
    seconds[BOTH] = seconds[PREPARED] + seconds[NETWORK]
    for what, workers in ((PREDICT, None), (ALONE, 1)):
        asked = Asked(target=Path("answers.csv"), top=3, workers=workers)
        seconds[what] = timed(lambda asked=asked: write_answers(network, images, asked))  # type: ignore[misc]
    return seconds


def answer_prepared(network: Network, resolution: int) -> None:
    """Let the network answer all images that are prepared in this directory."""
    store = Store.open(DATA_DIRECTORY, resolution)
    for split in store.splits:
        for batch in in_batches(store.split(split).pixels, network.batch):
            network.answering(batch.numpy())


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.monotonic()
    run()
    return time.monotonic() - began


def untrained_weights(path: Path, model: str, resolution: int) -> Weights:
    """Write and return weights of a network that was never trained, in the form of a training's."""
    entry = entry_of(model)
    torch.manual_seed(0)
    content = {
        "format": FORMAT,
        "model": construct(entry, resolution, 2).state_dict(),
        "name": model,
        "library": entry.library,
        "resolution": resolution,
        "classes": ["defective", "functional"],
        "channels": 3,
        "mean": [0.5] * 3,
        "std": [0.2] * 3,
        "fit": "center",
        "amp": "auto",
        "channels_last": True,
        "epoch": 1,
        "fingerprint": "0" * 12,
        "uid": "0" * 32,
    }
    save_sealed(path, content)
    return Weights.load(path)
