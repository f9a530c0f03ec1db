"""Decision rules under one interface: from the trainings and costs of a map to a cell, and how sure the rule is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from resomap.statistics import CellCost, Metric, Position, Trainings, decide, estimate, posterior, recommend

DRAWS = 2000  # of the critical values


@dataclass(frozen=True)
class Verdict:
    """A rule's answer: the cell to use, whether that is called decided, and the probability that it is within the
    margin of the best, where the rule states one."""

    cell: Position
    decided: bool
    probability: float | None = None


Rule: TypeAlias = Callable[[Mapping[Position, Trainings], Mapping[Position, CellCost], float, Metric], Verdict]


def proven(
    trainings: Mapping[Position, Trainings], costs: Mapping[Position, CellCost], margin: float, metric: Metric
) -> Verdict:
    """Take the cheapest cell that is shown to be within the margin at 95 %, else the highest estimate, undecided."""
    found = recommend(estimate(trainings, metric), costs, margin, cost="flops", draws=DRAWS)
    cell = found.chosen or found.best
    assert cell is not None
    return Verdict(cell, decided=found.chosen is not None)


def highest(
    trainings: Mapping[Position, Trainings], costs: Mapping[Position, CellCost], margin: float, metric: Metric
) -> Verdict:
    """Take the highest estimate, and call it decided: what a person does who reads a table."""
    estimates = estimate(trainings, metric)
    return Verdict(estimates.cells[int(np.argmax(estimates.values))], decided=True)


def answered(
    trainings: Mapping[Position, Trainings], costs: Mapping[Position, CellCost], margin: float, metric: Metric
) -> Verdict:
    """Take the map's own answer: the cheapest cell that is within the margin with 95 % by the posterior, else the one
    with the least expected deficit, undecided."""
    estimates = estimate(trainings, metric)
    found = recommend(estimates, costs, margin, cost="flops", draws=DRAWS)
    answer = decide(posterior(estimates), found)
    assert answer is not None
    return Verdict(answer.choice.cell, answer.decided, answer.choice.probability_within_margin)


RULES: dict[str, Rule] = {"proven": proven, "highest estimate": highest, "posterior": answered}
