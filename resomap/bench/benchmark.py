"""Tables of the whole benchmark as Markdown: one a part."""

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap.bench.checkpoint_stall import checkpoint_stall
from resomap.bench.input_pipeline import BATCH, compare_inputs, difference
from resomap.bench.plan_time import compare_planning
from resomap.bench.ratios import median_and_range
from resomap.bench.start_time import seconds_to_first_step
from resomap.bench.step_rate import Steps
from resomap.bench.test_images import COUNT, Material, study_of, write_colour, write_grey
from resomap.bench.timm_script import EPOCHS, beside_script, is_known
from resomap.cells.study import Study

GRID = 40  # cells of the default configuration
SAVED_EPOCHS = 4


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Settings of the benchmark: what is measured, and where the files lie meanwhile."""

    place: Path
    models: Sequence[str]
    resolutions: Sequence[int]
    input_resolutions: Sequence[int]
    workers: int = 2  # processes of timm's loader
    repeats: int = 3  # pairs of runs behind each ratio
    images: int = COUNT
    timm_train: Path | None = None  # timm's train.py
    photos: int | None = None  # pixels of the side of colour JPEG files, to work on these alone

    @cached_property
    def material(self) -> Material:
        """Test images shared by all parts."""
        if self.photos:
            return write_colour(self.place / "photos", self.images, self.photos)
        return write_grey(self.place / "grey", self.images)

    def inputs(self) -> Iterator[str]:
        """Yield the tables of the input pipeline: on the test images and, unless these are photos, on colour JPEG."""
        kinds = ("uint8 batches", "normalised float32 batches")
        rows: dict[str, list[str]] = {kind: [] for kind in kinds}
        materials = [self.material]
        if not self.photos:
            materials.append(write_colour(self.place / "colour", self.images))
        for material in materials:
            for resolution in self.input_resolutions:
                directory = self.place / f"inputs-{material.folder.name}-{resolution}"
                pairs = compare_inputs(material, directory, resolution, self.workers, self.repeats)
                apart = f"{difference(material, directory, resolution):.2f}"
                for kind, pair in zip(kinds, pairs, strict=True):
                    rows[kind].append(_row(material.name, resolution, *pair.cells(), apart))
        for kind in kinds:
            if kind != kinds[0]:
                yield ""
            yield from _head(
                f"Input path alone, {kind}, images/s: prepared store beside timm's loader with {self.workers} workers",
                ("images", "px", "store", "timm", "ratio", "mean difference (of 255)"),
            )
            yield from rows[kind]

    def steps(self) -> Iterator[str]:
        """Yield the table of training's step rate."""
        yield from _head(
            f"Training on {self.material.name}, images/s, beside one batch on the device and a loop on timm's loader",
            ("model", "px", "end to end", "on the device", "ratio", "timm's loader", "ratio to it"),
        )
        for model in self.models:
            for resolution in self.resolutions:
                directory = self.place / f"{model}-{resolution}"
                steps = Steps.of(self.material, directory, model, resolution, os.cpu_count() or 1)
                synthetic, plain = steps.beside_synthetic(self.repeats), steps.beside_timm(self.workers, self.repeats)
                yield _row(model, resolution, *synthetic.cells(), *plain.cells()[1:])

    def timm(self) -> Iterator[str]:
        """Yield the table of whole trainings beside timm's train.py."""
        yield from _head(
            f"A training's process on {self.material.name}, images/s, beside timm's train.py, {self.workers} workers",
            ("model", "px", "resomap train", "train.py", "ratio"),
        )
        assert self.timm_train is not None
        for model in self.models:
            for resolution in self.resolutions:
                if not is_known(model):
                    yield _row(model, resolution, "", "no model of this name", "")
                    continue
                directory = self.place / f"timm-{model}-{resolution}"

                def study_in(place: Path, model: str = model, resolution: int = resolution) -> Study:
                    return study_of(self.material, place, model, [resolution], batch_size=BATCH, epochs=EPOCHS)

                given = (self.timm_train, self.material, directory, study_in, self.workers, self.repeats)
                yield _row(model, resolution, *beside_script(*given).cells())

    def start(self) -> Iterator[str]:
        """Yield the table of seconds to the first step."""
        yield from _head("From the start of the process to the first step", ("model", "px", "seconds"))
        for model in self.models:
            resolution = self.resolutions[0]
            directory = self.place / f"start-{model}"
            study = study_of(self.material, directory, model, [resolution], epochs=1)
            times = seconds_to_first_step(study, directory, self.repeats)
            yield _row(model, resolution, median_and_range(times, ".1f"))

    def checkpoint(self) -> Iterator[str]:
        """Yield the table of what checkpoints cost a training."""
        yield from _head(
            "What checkpoints cost a training",
            ("model", "px", "saves", "a save makes it longer by, s", "... of the default interval"),
        )
        for model in self.models:
            resolution = self.resolutions[0]
            config = {
                "models": [model],
                "resolutions": [resolution],
                "data": {"source": str(self.material.folder), "problems": "skip"},
                "training": {"epochs": SAVED_EPOCHS, "early_stopping": {"enabled": False}},
                "tracking": {"drain_seconds": 0},
            }
            stall = checkpoint_stall(self.place / f"checkpoint-{model}", config, self.repeats)
            saves, share = sum(stall.saves), median_and_range(stall.shares(), ".2%")
            yield _row(model, resolution, saves, median_and_range(stall.a_save, ".2f"), share)

    def planning(self) -> Iterator[str]:
        """Yield the table of planning time."""
        yield from _head(
            "`snakemake -n` of the default grid, seconds, beside a Snakefile of one bare rule with as many jobs",
            ("trainings", "jobs", "ResoMap", "bare rule", "ratio"),
        )
        found = compare_planning(self.place / "planning", GRID, self.repeats)
        seconds = (f"{statistics.median(one.seconds for one in side):.1f}" for side in (found.ours, found.bare))
        yield _row(GRID, found.jobs, *seconds, median_and_range(found.ratios, ".2f"))


PARTS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "inputs": Bench.inputs,
    "steps": Bench.steps,
    "timm": Bench.timm,
    "start": Bench.start,
    "checkpoint": Bench.checkpoint,
    "planning": Bench.planning,
}


def bench(parts: Sequence[str], **settings: Any) -> Iterator[str]:
    """Yield the lines of the report, each as soon as it is measured; `settings` are those of Bench without its place.

    Raises ResomapError where the ELPV images are missing or a run fails.
    """
    with tempfile.TemporaryDirectory(prefix="resomap-bench-") as place:
        one = Bench(place=Path(place), **settings)
        for part in parts:
            yield from PARTS[part](one)
            yield ""


def _head(title: str, columns: Sequence[str]) -> Iterator[str]:
    yield f"**{title}**\n"
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"


def _row(*values: object) -> str:
    return f"| {' | '.join(map(str, values))} |"
