"""Answer of a map: the cell to use, how sure that is, and the ladder of what cheaper ones would lose.

Of the cells within the budget the cheapest is used whose deficit to the best is within the margin with a probability
of at least `confidence` under the posterior. Where none is, the cell with the least expected deficit is (the expected
opportunity cost of Chick & Inoue 2001, Operations Research 49:732; Frazier, Powell & Dayanik 2008, SIAM J. Control
Optim. 47:2410): there is an answer always. What is proven beside it is the frequentist bound of
`resomap.statistics.best`, which knows of no prior.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from resomap.statistics.posterior import Posterior
from resomap.statistics.recommendation import Recommendation
from resomap.statistics.repeated_looks import CONFIDENCE
from resomap.statistics.samples import Position

Rule: TypeAlias = Literal["only cell", "probable", "proven", "least expected deficit"]


@dataclass(frozen=True)
class Choice:
    """A cell, and what it may lose against the best of the candidates, as shares (0..1).

    probable_deficit: at most this with a probability of `confidence`. proven_deficit: the simultaneous 95 % bound.
    """

    cell: Position
    cost: float | None
    expected_deficit: float
    probable_deficit: float
    probability_within_margin: float
    proven_deficit: float


@dataclass(frozen=True)
class Answer:
    """The choice, the rule that made it, and the ladder: each cell that is the cheapest for some margin, cheap first.

    choices: all candidates, cheap first. decided: False where the rule is the least expected deficit, and where no cell
    was trained twice, so that training noise is known by experience with other images only. least_margin: at which a
    cell would pass; None without costs.
    """

    choice: Choice
    rule: Rule
    decided: bool
    ladder: tuple[Choice, ...]
    choices: tuple[Choice, ...]
    confidence: float
    least_margin: float | None


def decide(posterior: Posterior, found: Recommendation, confidence: float = CONFIDENCE) -> Answer | None:
    """Return the answer of a map; None where no cell is within the budget.

    `found` gives candidates, costs and proven deficits. Where no cost at all is known, none is the cheapest and all
    may be chosen; else a cell of unknown cost cannot be.
    """
    if not found.candidates:
        return None
    choices = _choices(posterior, found, confidence)
    eligible = [one for one in choices if found.cost is None or one.cost is not None]
    rule, choice = _choose(eligible, found, confidence)
    decided = rule == "only cell" or (rule != "least expected deficit" and found.includes_training_noise)
    ladder = _ladder(eligible) if found.cost is not None else ()
    least = min((one.probable_deficit for one in ladder), default=None)
    return Answer(choice, rule, decided, ladder, tuple(choices), confidence, least)


def _choices(posterior: Posterior, found: Recommendation, confidence: float) -> list[Choice]:
    deficits = posterior.deficits(list(found.candidates))
    expected = deficits.mean(axis=0)
    probable = np.quantile(deficits, confidence, axis=0, method="inverted_cdf")
    within = (deficits <= found.margin).mean(axis=0)
    return [
        Choice(
            cell,
            found.costs[cell],
            float(expected[index]),
            float(probable[index]),
            float(within[index]),
            found.deficits[cell].upper,
        )
        for index, cell in enumerate(found.candidates)
    ]


def _choose(eligible: Sequence[Choice], found: Recommendation, confidence: float) -> tuple[Rule, Choice]:
    """Return the choice among the eligible, which are in the order of their costs."""
    if len(found.candidates) == 1:
        return "only cell", eligible[0]
    if found.cost is not None:
        for one in eligible:
            if one.probability_within_margin >= confidence:
                return "probable", one
        for one in eligible:
            if one.cell == found.chosen:
                return "proven", one
    return "least expected deficit", min(eligible, key=lambda one: one.expected_deficit)


def _ladder(eligible: Sequence[Choice]) -> tuple[Choice, ...]:
    """Return the cells of which no cheaper one probably loses as little."""
    found: list[Choice] = []
    for one in eligible:
        if not found or one.probable_deficit < found[-1].probable_deficit:
            found.append(one)
    return tuple(found)
