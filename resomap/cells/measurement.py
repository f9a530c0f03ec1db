"""Cost measurements: a model at a resolution on a kind of device, with settings and file of each. Light: no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.cells.study import Study
from resomap.config.hashed import hashed, hashed_additions
from resomap.config.schema import Data
from resomap.core.files import read_json
from resomap.data.elpv import CLASSES
from resomap.data.folder import scan_of
from resomap.data.identity import classes_of
from resomap.data.source_kind import source_files
from resomap.data.tables import is_table, table_facts
from resomap.models.index import COLOURS

SCHEMA = 2
EAGER_SCHEMA = 1  # of earlier versions, which measured eager PyTorch in the precision of an evaluation
EAGER = "torch eager"
KINDS = ("cpu", "cuda")
DIRECTORY = Path("results", "cost")
# Latencies are no order of costs where half of the runs lie further apart than this share of their median; those of
# earlier versions, which ended later or never, than `DISTURBED`. Nor are they where the network that ran beside them
# takes so much more or less than it did.
UNSTEADY = 0.1
DISTURBED = 0.5
# By this share a larger resolution's quartiles of latency lie below those of a smaller one, with operations fewer than
# by this factor.
IMPLAUSIBLE = 0.1
FEWER = 1.2
# Cores that other programs may take for the words that a measurement was alone on its machine.
ALONE = 0.2
# Keys of `cost` that `ways` stands for in the settings.
IN_WAYS = ("runtimes", "precisions")
WORDS = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", EAGER: "eager PyTorch", "torch cuda graph": "PyTorch"}


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

        Of the recipe only the memory layout is in them, and that only where torch computes: another learning rate
        measures nothing again.
        """
        config, ways = study.config, study.config.cost.ways(self.kind)
        recipe = study.recipe(study.cell(self.model, self.resolution))
        channels = study.config.data.input_channels
        return {
            "schema": SCHEMA,
            "model": self.model,
            "resolution": self.resolution,
            "device_kind": self.kind,
            "classes": classes,
            "deterministic": config.deterministic,
            "ways": [way.name for way in ways],
            **{name: value for name, value in hashed(config.cost, "cost").items() if name not in IN_WAYS},
            **({} if channels == COLOURS else {"channels": channels}),
            **({"channels_last": recipe.channels_last} if any(way.runtime == "torch" for way in ways) else {}),
        }

    def eager_settings(self, study: Study, classes: int) -> dict[str, Any] | None:
        """Return the settings as earlier versions wrote them, under which what they measured still counts.

        None where the configuration asks for a runtime, a precision, threads or channels, of which they knew nothing.
        """
        if hashed_additions(study.config.cost, "cost") or study.config.data.input_channels != COLOURS:
            return None
        recipe = study.recipe(study.cell(self.model, self.resolution))
        return {
            "schema": EAGER_SCHEMA,
            "model": self.model,
            "resolution": self.resolution,
            "device_kind": self.kind,
            "classes": classes,
            "amp": recipe.amp,
            "channels_last": recipe.channels_last,
            "deterministic": study.config.deterministic,
            **hashed(study.config.cost, "cost"),
        }

    def read(self, settings: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the figures; None where they are missing, damaged or measured under other settings."""
        content = read_json(self.path)
        return content if settings and isinstance(content, dict) and content.get("settings") == settings else None

    def kept(self, study: Study, classes: int) -> dict[str, Any] | None:
        """Return the figures, those of an earlier version too, which are said to be of eager PyTorch."""
        found = self.read(self.settings(study, classes))
        if found is None and (found := self.read(self.eager_settings(study, classes))) is not None:
            return {"runtime": EAGER, **found}
        return found


def why_unsteady(content: Mapping[str, Any]) -> str | None:
    """Return why a measured latency is not to be ranked by, for people; None where it may be.

    Of figures of earlier versions, which name no reference, the quartiles tell.
    """
    highest = UNSTEADY if content.get("schema") == SCHEMA else DISTURBED
    median, q1, q3 = (content.get(f"latency_ms_{name}") for name in ("median", "q1", "q3"))
    if median and q1 is not None and q3 is not None and (q3 - q1) / median > highest:
        return f"half of its runs took {q1:.3g} to {q3:.3g} ms"
    reference = content.get("reference")
    if not reference:
        return None
    before, now = (reference.get(f"latency_ms_{when}") for when in ("before", "now"))
    if before and now and max(before, now) / min(before, now) > 1 + DISTURBED:
        return f"{reference['model']}@{reference['resolution']} beside it took {now:.3g} ms, and {before:.3g} before"
    return None


def why_implausible(contents: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """Return why latencies, by model and resolution, are no order: a model is faster where it computes more.

    The quartiles tell, and FLOPs of 1.2 times at least; where either is not known nothing is said.
    """
    found = {}
    for (model, small), slow in contents.items():
        for (other, large), fast in contents.items():
            low, high = slow.get("latency_ms_q1"), fast.get("latency_ms_q3")
            few, many = slow.get("flops"), fast.get("flops")
            if other != model or large <= small or not (low and high and few and many):
                continue
            if many > FEWER * few and high < (1 - IMPLAUSIBLE) * low:
                of_slow, of_fast = slow["latency_ms_median"], fast["latency_ms_median"]
                found[model, small] = f"it took {of_slow:.3g} ms, and {large} px, which computes more, {of_fast:.3g}"
    return found


def runtime_words(content: Mapping[str, Any]) -> str:
    """Return the runtime of a measurement for people; empty where its file names none."""
    name = content.get("runtime")
    return WORDS.get(name, name) if name else ""


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
    return len(classes_of(scan_of(data)))
