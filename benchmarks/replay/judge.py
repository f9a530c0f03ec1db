"""Judgement of a rule on maps of known truth, with Monte Carlo errors clustered by grid."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.replay.redraw import DrawnMap
from benchmarks.replay.rules import Rule
from resomap.statistics import Metric


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Worth of a rule's answers on the maps of one grid. Probabilities are None where the rule states none."""

    maps: int
    decided: int
    wrong: int  # decided, for a cell that is further than the margin from the best
    within: int  # decided or not, for a cell within the margin
    regret: float  # mean deficit of the cells answered, a share
    stated: float | None  # mean stated probability of being within the margin

    @property
    def share_wrong(self) -> float:
        """Wrong decisions, of all maps."""
        return self.wrong / self.maps

    @property
    def overstated(self) -> float | None:
        """Stated probability above the frequency with which it came true."""
        return None if self.stated is None else self.stated - self.within / self.maps


@dataclass(frozen=True)
class Clustered:
    """A mean over grids, each counted once, and its standard error from the scatter between grids; NaN with one."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Clustered":
        """Combine one value a grid."""
        error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        return cls(float(np.mean(values)), error)

    def in_points(self) -> str:
        """Return `1.2 ± 0.3`, both in points of 100; of one grid `1.2`."""
        return f"{100 * self.mean:.1f}" + ("" if math.isnan(self.error) else f" ± {100 * self.error:.1f}")


def judge(rule: Rule, maps: Iterable[DrawnMap], margin: float, metric: Metric) -> Judgement:
    """Ask a rule about maps, and hold its answers against their truth."""
    deficits, decided, stated = [], [], []
    for one in maps:
        verdict = rule(one.trainings, one.costs, margin, metric)
        deficits.append(max(one.truth.values()) - one.truth[verdict.cell])
        decided.append(verdict.decided)
        stated.append(verdict.probability)
    lost, sure = np.array(deficits), np.array(decided)
    probabilities = [one for one in stated if one is not None]
    return Judgement(
        maps=len(lost),
        decided=int(sure.sum()),
        wrong=int((sure & (lost > margin)).sum()),
        within=int((lost <= margin).sum()),
        regret=float(lost.mean()),
        stated=float(np.mean(probabilities)) if len(probabilities) == len(lost) else None,
    )
