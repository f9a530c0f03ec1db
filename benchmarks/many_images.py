"""`resomap predict` on very many images, killed halfway: `python -m benchmarks.many_images PLACE [--images 100000]`.

Draws small JPEG files, writes an untrained network as ONNX, and lets `resomap predict --onnx --output` answer all of
them: in one go, and killed with SIGKILL halfway and gone on with. Prints a Markdown table: images a second beside those
of the prepared path of a training (images prepared as a grid does it, then the network on what was stored), the highest
resident memory of the command with all its processes, and whether both files have the same bytes. PLACE is a folder
that does not exist yet; it is deleted in the end.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.predict.rates import answer_prepared, timed, untrained_weights
from resomap.bench.test_images import QUALITY, Material, study_of
from resomap.core.files import file_digest
from resomap.data import DATA_DIRECTORY
from resomap.data.prepare import prepare_images
from resomap.export.export_files import FP32
from resomap.export.facts import facts_of
from resomap.export.onnx_writer import add_facts, onnx_model
from resomap.machine.cpus import available_cores
from resomap.models.build import construct
from resomap.models.survey import entry_of
from resomap.prediction.networks import exported_network
from resomap.prediction.unfinished import unfinished_beside

FOLDERS = 100  # an even number, so that each is of one class
PATCHES = 8  # a side, in colours drawn for each image, before they are blurred into each other
EACH = 0.25  # seconds between looks at memory and at how far the command is


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="`resomap predict` on very many images, killed halfway.")
    parser.add_argument("place", type=Path, help="a folder that does not exist yet, and is deleted in the end")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--side", type=int, default=64, help="of the JPEG files, in pixels")
    parser.add_argument("--model", default="test_resnet")
    parser.add_argument("--resolution", type=int, default=64)
    given = parser.parse_args()
    given.place.mkdir(parents=True)
    try:
        with contextlib.chdir(given.place):
            measure(given)
    finally:
        shutil.rmtree(given.place)


def measure(given: argparse.Namespace) -> None:
    """Measure in this directory, and print."""
    draw_files(Path("images"), given.images, given.side)
    write_onnx(Path("network.onnx"), given.model, given.resolution)
    print(f"| {given.model} at {given.resolution} px, {given.images:,} JPEG files of {given.side} px | | |")
    print("|---|---|---|")
    whole = call("whole.csv")
    _print("in one go", given.images, whole)
    killed = call("killed.csv", kill_after=given.images // 2)
    done = killed.images
    print(f"| killed (SIGKILL) | {done:,} images were done | {killed.peak / 1e6:,.0f} MB |", flush=True)
    resumed = call("killed.csv")
    _print("gone on with", given.images - done, resumed)
    digests = {file_digest(Path(name)) for name in ("whole.csv", "killed.csv")}
    lines = Path("whole.csv").read_bytes().count(b"\n") - 1
    print(f"| the two files | {'the same bytes' if len(digests) == 1 else 'DIFFER'} | {lines:,} answers |", flush=True)
    study_of(Material("drawn", Path("images").absolute()), Path(), given.model, [given.resolution])
    network = exported_network(Path("network.onnx"))
    with contextlib.redirect_stdout(None):
        preparing = timed(lambda: prepare_images(DATA_DIRECTORY, given.resolution, available_cores()))
    answering = timed(lambda: answer_prepared(network, given.resolution))
    for what, seconds in (("images prepared", preparing), ("the network on prepared images", answering)):
        print(f"| {what} | {given.images / seconds:,.0f} images/s | |")
    print(f"| one after the other | {given.images / (preparing + answering):,.0f} images/s | |")


def draw_files(folder: Path, count: int, side: int) -> None:
    """Write JPEG files of blurred patches with noise, no two alike, in two classes of folders."""
    random = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % 2}" / f"{number % FOLDERS:02d}"
        if number < FOLDERS:
            place.mkdir(parents=True)
        patches = Image.fromarray(random.integers(256, size=(PATCHES, PATCHES, 3), dtype=np.uint8))
        pixels = np.asarray(patches.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (pixels + random.integers(-20, 21, size=(side, side, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(place / f"{number:06d}.jpg", quality=QUALITY)


def write_onnx(path: Path, model: str, resolution: int) -> None:
    """Write an untrained network as `resomap export` writes one, without the check of its answers."""
    weights = untrained_weights(path.with_name("best.pt"), model, resolution)
    network = construct(entry_of(model), resolution, len(weights.classes)).eval()
    network.load_state_dict(weights.state)
    exported = onnx_model(network, resolution).proto
    add_facts(exported, facts_of(weights, 1.0, None, FP32))
    path.write_bytes(exported.SerializeToString())


@dataclass(frozen=True)
class Call:
    """A call of the command: its seconds, the highest resident memory of its processes in bytes, the images done."""

    seconds: float
    peak: int
    images: int


def call(output: str, kill_after: int | None = None) -> Call:
    """Let `resomap predict` answer the images, and kill it once so many are done."""
    words = [sys.executable, "-m", "resomap", "predict", "--onnx", "network.onnx", "images", "--output", output]
    began, peak, done = time.monotonic(), 0, 0
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    unfinished = unfinished_beside(Path(output))
    while process.poll() is None:
        time.sleep(EACH)
        peak = max(peak, resident(process.pid))
        if kill_after is not None and (done := answered(unfinished)) >= kill_after:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done = answered(unfinished)
    said = process.communicate()[1]
    expected = 0 if kill_after is None else -signal.SIGKILL
    if process.returncode != expected:
        raise SystemExit(f"exit code {process.returncode}: {said}")
    print(said, file=sys.stderr, end="")
    return Call(time.monotonic() - began, peak, done)


def resident(pid: int) -> int:
    """Return the resident bytes of a process and of all below it; memory that they share counts once (PSS)."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for one in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_full_info().pss
    return total


def answered(unfinished: Path) -> int:
    """Return how many images whole lines of an unfinished file answer."""
    if not unfinished.exists():
        return 0
    content = unfinished.read_bytes()
    return content[: content.rfind(b"\n") + 1].count(b'{"image":')


def _print(what: str, images: int, made: Call) -> None:
    rate = f"{images / made.seconds:,.0f} images/s with its start"
    print(f"| {what} | {images:,} images, {rate} | {made.peak / 1e6:,.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
