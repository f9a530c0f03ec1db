"""Decision rules under one interface: from the trainings and costs of a map to a cell, and how sure the rule is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from resomap.statistics import CellCost, Metric, Position, Trainings, estimate, hierarchy, recommend

DRAWS = 2000  # of the critical values, and of posteriors
CONFIDENCE = 0.95


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


def borrowed(
    trainings: Mapping[Position, Trainings], costs: Mapping[Position, CellCost], margin: float, metric: Metric
) -> Verdict:
    """Take the cheapest cell within the margin with 95 % probability by `statistics.hierarchy`, else the least
    expected deficit, undecided."""
    found = hierarchy(estimate(trainings, metric))
    worlds = np.random.default_rng(0).multivariate_normal(found.means, found.covariance, DRAWS, method="eigh")
    deficits = worlds.max(axis=1, keepdims=True) - worlds
    probability = (deficits <= margin).mean(axis=0)
    by_cost = sorted(range(len(found.cells)), key=lambda index: costs[found.cells[index]].get("flops") or np.inf)
    sure = [index for index in by_cost if probability[index] >= CONFIDENCE]
    index = sure[0] if sure else int(np.argmin(deficits.mean(axis=0)))
    return Verdict(found.cells[index], bool(sure), float(probability[index]))


RULES: dict[str, Rule] = {"proven": proven, "highest estimate": highest, "hierarchy": borrowed}
