"""The whole benchmark as Markdown: a table a part."""

import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from resomap.bench.inputs import compare_inputs, difference
from resomap.bench.material import COUNT, write_colour, write_grey
from resomap.bench.start import seconds_to_first_step
from resomap.bench.steps import Steps

PARTS = ("inputs", "steps", "start")


def bench(
    parts: Sequence[str],
    models: Sequence[str],
    resolutions: Sequence[int],
    workers: int,
    repeats: int,
    images: int = COUNT,
) -> Iterator[str]:
    """Lines of the report, each as soon as it is measured. Raises ResomapError where the ELPV images are missing."""
    with tempfile.TemporaryDirectory(prefix="resomap-bench-") as place:
        kinds = [write_grey(Path(place, "grey"), images), write_colour(Path(place, "colour"), images)]
        if "inputs" in parts:
            yield from _table(
                f"Input path alone, images/s: prepared store beside timm's loader with {workers} workers",
                ("images", "px", "store", "timm", "ratio", "mean difference (of 255)"),
            )
            for kind in kinds:
                for resolution in resolutions:
                    directory = Path(place, f"inputs-{kind.folder.name}-{resolution}")
                    pair = compare_inputs(kind, directory, resolution, workers, repeats)
                    apart = difference(kind, directory, resolution)
                    yield _row(kind.name, resolution, *pair.cells(), f"{apart:.2f}")
            yield ""
        if "steps" in parts:
            yield from _table(
                "Training end to end, images/s, beside one batch on the device and a plain loop on timm's loader",
                ("model", "px", "end to end", "on the device", "ratio", "timm's loader", "ratio to it"),
            )
            for model in models:
                for resolution in resolutions:
                    steps = Steps(
                        kinds[0], Path(place, f"{model}-{resolution}"), model, resolution, os.cpu_count() or 1
                    )
                    synthetic, plain = steps.beside_synthetic(repeats), steps.beside_timm(workers, repeats)
                    yield _row(model, resolution, *synthetic.cells(), *plain.cells()[1:])
            yield ""
        if "start" in parts:
            yield from _table("From the start of the process to the first step", ("model", "px", "seconds"))
            for model in models:
                times = seconds_to_first_step(kinds[0], Path(place, f"start-{model}"), model, resolutions[0], repeats)
                shown = f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
                yield _row(model, resolutions[0], shown)


def _table(title: str, columns: Sequence[str]) -> Iterator[str]:
    yield f"**{title}**\n"
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


def _row(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"
