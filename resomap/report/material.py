"""Material of the chapters: the map, the evidence behind it, and how both are said in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resomap.cells.predictions import SplitPredictions
from resomap.report.figure import RING, Key
from resomap.statistics import Position
from resomap.summary.document import Estimate, Gap, Map, OperatingPoint, Square, Training
from resomap.summary.evidence import Evidence
from resomap.summary.parts import Place

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "quadratic_kappa": "quadratic kappa",
}


@dataclass(frozen=True)
class Material:
    """A study's map and what it rests on."""

    map: Map
    evidence: Evidence

    @property
    def metric(self) -> str:
        """Name of the report's metric, in words: with the share that a threshold holds, and the class."""
        held = next((one for one in self.map.operating_points if one.metric == self.map.metric), None)
        if held is not None:
            return f"{in_words(self.map.metric)} {held.at:g} for {held.positive}"
        return in_words(self.map.metric)

    @cached_property
    def squares(self) -> Mapping[Position, Square]:
        """Squares of the map that have a finished training, by (model, resolution)."""
        return {(one.model, one.resolution): one for one in self.map.squares}

    @cached_property
    def models(self) -> list[str]:
        """Models with a finished training, in the grid's order."""
        return list(dict.fromkeys(model for model, _ in self.squares))

    @property
    def one_seed_note(self) -> str:
        """Sentence for what is compared with one seed a cell; empty where training noise is in the comparison."""
        advice = self.map.recommendation
        if advice is None or advice.includes_training_noise:
            return ""
        return (
            " With one seed a cell this is said of these trained models only: trained again with another seed, each "
            "would judge some images otherwise."
        )

    @property
    def shown_images(self) -> str:
        """Images that examples and errors are shown of: of the test split, or with folds those that judge."""
        if self.map.folds is None:
            return "test images"
        return "images outside the test split, each judged by a training that did not see it"

    def shown(self, position: Position) -> list[SplitPredictions]:
        """Return a square's predictions of these images, one for each training, or with folds for each seed."""
        if self.map.folds is not None:
            return self.evidence.judged.get(position, [])
        known = (one.predictions for one in self.evidence.of(position))
        return [one.splits["test"] for one in known if one is not None]

    @property
    def chosen(self) -> Position | None:
        """Position of the square that is the answer, or None."""
        answer = self.map.answer
        return (answer.model, answer.resolution) if answer else None

    @property
    def ring(self) -> list[Key]:
        """Legend of the ring around the answer in charts; empty without an answer."""
        return [RING] if self.chosen else []

    @property
    def chosen_name(self) -> str | None:
        """Name of that square as tables and panels have it, or None."""
        return name(self.map.answer) if self.map.answer else None

    def judged(self, square: Square, split: str = "validation") -> Estimate | None:
        """Return the square's estimate of the report's metric on `validation` or `test`."""
        qualities: Mapping[str, Estimate | None] = getattr(square, split)
        return qualities.get(self.map.metric)

    def why_missing(self, position: Position) -> str:
        """Return why a square of the grid has no training, or an empty text."""
        reasons = [
            gap.reason for gap in self.map.missing if gap.what == "training" and (gap.model, gap.resolution) == position
        ]
        return "; ".join(dict.fromkeys(reasons))


def in_words(metric: str) -> str:
    """Return the name of a metric in words."""
    return METRICS.get(metric, metric.replace("_", " "))


def name(place: Place) -> str:
    """Return the name of a square: `resnet18 @ 64 px`."""
    return f"{place.model} @ {place.resolution} px"


def training_name(one: Training | OperatingPoint | Gap) -> str:
    """Return what tells a training from the others of its square: `seed 1`, or `fold 2, seed 1`."""
    return f"seed {one.seed}" if one.fold is None else f"fold {one.fold}, seed {one.seed}"


def training_number(one: Training | OperatingPoint) -> str:
    """Return the same for a column of tables: `1`, or `fold 2, seed 1`."""
    return f"{one.seed}" if one.fold is None else training_name(one)


def quality(value: float | None) -> str:
    """Return a quality with three digits, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.3f}"


def interval(one: Any) -> str:
    """Return `0.758 [0.710, 0.801]` for anything with value, low and high."""
    if one is None or one.value is None:
        return "–"
    return quality(one.value) if one.low is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def scaled(value: float | None, unit: float = 1) -> str:
    """Return a figure in units of `unit` with three digits, whole from a thousand on; a dash where it is unknown."""
    if value is None:
        return "–"
    figure = value / unit
    return f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"


def padded(values: list[float]) -> tuple[float, float]:
    """Return the limits of an axis of shares around values, with some air."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    air = max(0.01, 0.06 * (high - low))
    return max(0.0, low - air), min(1.0, high + air)
