"""Makespan of the default grid on 1, 4 and 8 GPUs in several orders; the table of docs/growth.md.

    python -m benchmarks.makespan              # simulated, in seconds
    python -m benchmarks.makespan --real 4     # Snakemake itself on 4 GPUs, with jobs that sleep
    python -m benchmarks.makespan --measure    # how long a training step of each model takes here

A makespan is divided by what no order can beat: max(all cells / GPUs, longest cell). The cells' true durations are
the measured ones below at 224 pixels, scaled by FLOPs to the other resolutions; the orders know them only where it
says so.
"""

import argparse
import contextlib
import heapq
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.config.schema import DEFAULT_MODELS
from resomap.estimates.duration import Durations
from resomap.estimates.order import Order
from resomap.models.fits import size_of

GPUS = (1, 4, 8)
# Seconds of a training step an image at 224 pixels: the fastest of three steps of four images, bfloat16, two cores of
# an Intel Xeon with AMX (`--measure`). Operations alone would have resnet50 at a quarter of vgg16.
MEASURED = {
    "vgg11": 0.58,
    "vgg16": 1.25,
    "resnet18": 0.44,
    "resnet50": 2.77,
    "mobilenet_v2": 0.96,
    "mobilenetv4_conv_small": 0.57,
    "efficientnet_b0": 1.47,
    "convnext_tiny": 1.03,
}
SHUFFLES = 1000
REAL_SECONDS = 40.0  # shortest possible makespan of a run of sleeping jobs
SNAKEFILE = """
import json

CELLS = json.load(open("cells.json"))  # name: [seconds, priority]

rule all:
    input: [f"{name}.done" for name in CELLS]

rule train:
    output: touch("{name}.done")
    priority: lambda wildcards: CELLS[wildcards.name][1]
    resources: gpu=1
    params: seconds=lambda wildcards: CELLS[wildcards.name][0]
    shell: "sleep {params.seconds}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=int, metavar="GPUS", help="run Snakemake with sleeping jobs")
    parser.add_argument("--measure", action="store_true", help="time training steps here instead")
    given = parser.parse_args()
    if given.measure:
        measure()
        return
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        study = Study.open({})
        true = true_seconds(study.cells())
        if given.real:
            report_real(study, true, given.real)
        else:
            report_simulated(study, true)


def true_seconds(cells: Iterable[Cell]) -> dict[Cell, float]:
    """Return the seconds of one image in training; images and epochs are the same for all and cancel."""
    return {
        cell: MEASURED[cell.model] * size_of(cell.model, cell.resolution).flops / size_of(cell.model, 224).flops
        for cell in cells
    }


def report_simulated(study: Study, true: dict[Cell, float]) -> None:
    """Print the table."""
    cells = study.cells()
    on_paper = Order(Durations(study, "cuda"), []).of(cells)
    known = sorted(cells, key=lambda cell: -true[cell])
    mixed = [random.Random(seed).sample(cells, len(cells)) for seed in range(SHUFFLES)]
    rows: list[tuple[str, Callable[[int], str]]] = [
        ("longest first, known from finished cells", lambda gpus: f"{relative(known, true, gpus):.3f}"),
        ("longest first, from operations alone", lambda gpus: f"{relative(on_paper, true, gpus):.3f}"),
        ("as the configuration lists them", lambda gpus: f"{relative(cells, true, gpus):.3f}"),
        ("any order: median (worst) of 1,000", lambda gpus: of_many(mixed, true, gpus)),
    ]
    heads = " | ".join("1 GPU" if gpus == 1 else f"{gpus} GPUs" for gpus in GPUS)
    print(f"| order | {heads} |\n|---|{'---|' * len(GPUS)}")
    for name, text in rows:
        print(f"| {name} | {' | '.join(text(gpus) for gpus in GPUS)} |")


def of_many(orders: Sequence[Sequence[Cell]], true: dict[Cell, float], gpus: int) -> str:
    """Return median and worst makespan of these orders, as text."""
    found = [relative(order, true, gpus) for order in orders]
    return f"{statistics.median(found):.3f} ({max(found):.3f})"


def relative(order: Sequence[Cell], true: dict[Cell, float], gpus: int) -> float:
    """Return the makespan of the order in units of the bound: each GPU that becomes free takes the next cell."""
    free = [0.0] * gpus
    for cell in order:
        heapq.heappush(free, heapq.heappop(free) + true[cell])
    return max(free) / bound(true, gpus)


def bound(true: dict[Cell, float], gpus: int) -> float:
    """Return the makespan that no order can beat."""
    return max(sum(true.values()) / gpus, max(true.values()))


def report_real(study: Study, true: dict[Cell, float], gpus: int) -> None:
    """Run both orders and print a line for each."""
    scale = REAL_SECONDS / bound(true, gpus)
    order = Order(Durations(study, "cuda"), [])
    for name, priority in (
        ("longest first, from operations alone", lambda cell: order.priority(cell, study.cells())),
        ("Snakemake's own", lambda cell: 0),
    ):
        cells = {cell.name: [round(true[cell] * scale, 3), priority(cell)] for cell in study.cells()}
        seconds = run_snakemake(cells, gpus)
        print(f"{gpus} GPUs, {name}: {seconds / REAL_SECONDS:.3f}")


def run_snakemake(cells: dict[str, list[float]], gpus: int) -> float:
    """Return the seconds from the first job's start to the last one's end, without Snakemake's own start and end.

    These take no GPU.
    """
    with tempfile.TemporaryDirectory() as place:
        Path(place, "Snakefile").write_text(SNAKEFILE)
        Path(place, "cells.json").write_text(json.dumps(cells))
        words = ["snakemake", "--cores", str(gpus), "--resources", f"gpu={gpus}", "--quiet", "all"]
        subprocess.run([sys.executable, "-m", *words], cwd=place, check=True)
        ends = {name: Path(place, f"{name}.done").stat().st_mtime for name in cells}
        return max(ends.values()) - min(end - cells[name][0] for name, end in ends.items())


def measure() -> None:
    """Print the fastest of three training steps of four images, in seconds an image."""
    import torch

    from resomap.compute.device import choose_device, prepare_backend
    from resomap.compute.execution import Execution
    from resomap.models.build import build_model, logits

    device = choose_device("cpu")
    prepare_backend(device, False, 2)
    images, labels = torch.randn(4, 3, 224, 224), torch.tensor([0, 1, 0, 1])
    images = images.to(memory_format=torch.channels_last)
    execution = Execution.of(device, "auto", True)
    print(device.name, execution.precision)
    for name in DEFAULT_MODELS:
        model = execution.place(build_model(name, 224, 2).model.train())
        times = []
        for _ in range(3):
            started = time.perf_counter()
            with execution.autocast():
                scores = logits(model(images))
            torch.nn.functional.cross_entropy(scores.float(), labels).backward()
            times.append(time.perf_counter() - started)
        print(f"{name} {min(times) / len(images):.3g}")


if __name__ == "__main__":
    main()
