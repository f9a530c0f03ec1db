"""The map against chance: which cells beat an answer that looks at no image, and what helps those that do not."""

from dataclasses import dataclass

import numpy as np

from resomap.core.text import first_few
from resomap.statistics import Interval, Position
from resomap.statistics.chance import chance_level, is_constant
from resomap.statistics.samples import position_name
from resomap.summary.evidence import Evidence

FEW_IMAGES, FEW_OF_A_CLASS = 200, 30  # validation images
LISTED = 4
HELPS = (
    "what helps is more epochs (`training.epochs`), pretrained weights (`training: {weights: default}`) or another "
    "learning rate; more seeds do not"
)


@dataclass(frozen=True)
class AgainstChance:
    """The chance level of the report's metric, and the intervals of the squares on validation."""

    metric: str
    level: float
    intervals: dict[Position, Interval]

    @property
    def not_beaten(self) -> list[Position]:
        """Squares whose interval reaches down to chance."""
        return [position for position, found in self.intervals.items() if found.low <= self.level]

    def score(self, leader: Position) -> str:
        """Return the leader's score against chance, as the answer's second sentence."""
        found, name = self.intervals[leader], self.metric.replace("_", " ")
        score = f"{name} {found.value:.2f} (95 %: {found.low:.2f} to {found.high:.2f}) on validation"
        if leader not in self.not_beaten:
            return f"It has {score}; chance is {self.level:.2f}."
        none = len(self.not_beaten) == len(self.intervals)
        who = "But no cell beats chance" if none else "But it is not shown to beat chance"
        return f"{who} ({self.level:.2f}) yet: this one has {score}; {HELPS}."


def against_chance(evidence: Evidence, metric: str, intervals: dict[Position, Interval]) -> AgainstChance | None:
    """Return the squares against chance; None without predictions, or where the metric's chance level is not known."""
    part = next((one.predictions for one in evidence.trained if one.predictions), None)
    if part is None or not intervals:
        return None
    level = chance_level(metric, part.splits["val"].labels, len(part.classes))
    return None if level is None else AgainstChance(metric, level, intervals)


def chance_notes(evidence: Evidence, found: AgainstChance | None, leader: Position | None) -> list[str]:
    """Return the sentences on cells at chance, on trainings with one answer for all images, and on few images."""
    notes = []
    others = [place for place in found.not_beaten if place != leader] if found else []
    if found and others:
        names = first_few([position_name(place) for place in others], LISTED)
        notes.append(f"Not shown to beat chance ({found.level:.2f}): {names}.")
    constant: dict[str, list[str]] = {}
    for one in evidence.trained:
        if one.predictions is not None and is_constant(part := one.predictions.splits["val"].log_probabilities):
            answer = one.predictions.classes[int(np.argmax(part[0]))]
            constant.setdefault(answer, []).append(one.cell.name)
    for answer, trainings in constant.items():
        names = first_few(trainings, LISTED)
        notes.append(f"Every image is '{answer}' to {names}: a constant answer, which has learnt nothing.")
    return [*notes, *_few_images(evidence)]


def _few_images(evidence: Evidence) -> list[str]:
    part = next((one.predictions for one in evidence.trained if one.predictions), None)
    if part is None or evidence.study.config.data.folds is not None:
        return []
    counts = np.bincount(part.splits["val"].labels, minlength=len(part.classes))
    least = int(counts.argmin())
    if counts.sum() >= FEW_IMAGES and counts[least] >= FEW_OF_A_CLASS:
        return []
    return [
        f"Few images judge here: {counts.sum():,} of validation, {counts[least]:,} of them '{part.classes[least]}'. "
        "With `data: {folds: 5}` every image outside the test split judges."
    ]
