"""Cost measurements: a model at a resolution on a kind of device, with settings and file of each. Light: no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.cells.study import Study
from resomap.config.hashed import hashed
from resomap.config.schema import Data
from resomap.core.files import read_json
from resomap.data.elpv import CLASSES
from resomap.data.folder import scan, source_root
from resomap.data.identity import classes_of
from resomap.data.source_kind import source_files
from resomap.data.tables import is_table, table_facts

SCHEMA = 1
KINDS = ("cpu", "cuda")
DIRECTORY = Path("results", "cost")
# Latencies are no order of costs where half of the runs lie further apart than this share of their median, or where
# the network that ran beside them takes as much more or less than it did.
UNSTEADY = 0.5


@dataclass(frozen=True)
class Measurement:
    """Cost measurement of one model at one resolution on one kind of device; seeds share it."""

    model: str
    resolution: int  # pixels, images are square
    kind: str  # `cpu` or `cuda`; the device's name is known only where it is measured

    @property
    def name(self) -> str:
        """Name for people: `vgg11@320 on cuda`."""
        return f"{self.model}@{self.resolution} on {self.kind}"

    @property
    def path(self) -> Path:
        """Path of the measured figures, which is Snakemake's target."""
        return DIRECTORY / self.kind / self.model / f"{self.resolution}.json"

    def settings(self, study: Study, classes: int) -> dict[str, Any]:
        """Return all settings that the figures depend on, the machine apart: when they change, it is measured anew.

        Of the recipe only what an evaluation computes with is in them, so another learning rate measures
        nothing again.
        """
        recipe = study.recipe(study.cell(self.model, self.resolution))
        return {
            "schema": SCHEMA,
            "model": self.model,
            "resolution": self.resolution,
            "device_kind": self.kind,
            "classes": classes,
            "amp": recipe.amp,
            "channels_last": recipe.channels_last,
            "deterministic": study.config.deterministic,
            **hashed(study.config.cost, "cost"),
        }

    def read(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """Return the figures; None where they are missing, damaged or measured under other settings."""
        content = read_json(self.path)
        return content if isinstance(content, dict) and content.get("settings") == settings else None


def why_unsteady(content: Mapping[str, Any]) -> str | None:
    """Return why a measured latency is not to be ranked by, for people; None where it may be.

    Of figures of earlier versions, which name no reference, the quartiles tell.
    """
    median, q1, q3 = (content.get(f"latency_ms_{name}") for name in ("median", "q1", "q3"))
    if median and q1 is not None and q3 is not None and (q3 - q1) / median > UNSTEADY:
        return f"half of its runs took {q1:.3g} to {q3:.3g} ms"
    reference = content.get("reference")
    if not reference:
        return None
    before, now = (reference.get(f"latency_ms_{when}") for when in ("before", "now"))
    if before and now and max(before, now) / min(before, now) > 1 + UNSTEADY:
        return f"{reference['model']}@{reference['resolution']} beside it took {now:.3g} ms, and {before:.3g} before"
    return None


def measurements(study: Study, kind: str) -> list[Measurement]:
    """Return one measurement for each model and resolution of the configuration, in its order."""
    config = study.config
    return [Measurement(model, res, kind) for model in config.models for res in config.resolutions]


def class_count(data: Data) -> int:
    """Return the number of classes of the data source, counted from its folders: no image is decoded.

    A class counts from one image file on. Images that turn out damaged later can, with `data.problems: skip`,
    leave a class out: the head then has one output less than was measured, which changes no figure noticeably.
    Raises ResomapError: no package, no folder, nothing in it.
    """
    if data.source == "elpv":
        return len(CLASSES)
    found = source_files(data.source)
    if is_table(found):
        return len(table_facts(found, data).classes)
    return len(classes_of(scan(source_root(data.source), data.layout)))
