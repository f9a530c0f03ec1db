"""Recommendation by proof: the cheapest cell that is shown to be within the margin of the best.

Decided on the validation split; the test split only reports.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from resomap.core.errors import ResomapError
from resomap.statistics.best import Deficit, Deficits
from resomap.statistics.interval_estimates import DRAWS, Estimates
from resomap.statistics.pareto import CellCost, CostName, require_cost_name, require_one_device
from resomap.statistics.samples import Position

# What "cheapest" means, the first of them that is known for every cell.
PREFERRED: tuple[CostName, ...] = ("latency_ms", "flops", "params")


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """Proof of which cells are within the margin, and its basis. Qualities are shares (0..1) on the validation split.

    chosen: None where no cell is proven to be within the margin. best: the highest estimate among `candidates` (its
    lead is no proof). candidates: all cells within the budget, from cheap to dear. excluded: the others, and why.
    deficits: to the best of the candidates, simultaneous. open: cells of which the deficit may be within the margin but
    is not proven to be: the cheaper ones where a cell is chosen, all of them where none is. least_provable: the least
    deficit that these images could prove, of cells that are all alike and however often each is trained.
    """

    chosen: Position | None
    best: Position | None
    candidates: tuple[Position, ...]
    excluded: Mapping[Position, str]
    deficits: Mapping[Position, Deficit]
    open: tuple[Position, ...]
    cost: CostName | None
    costs: Mapping[Position, float | None]
    device: str | None
    margin: float
    metric: str
    values: Mapping[Position, float]
    images: int
    groups: int | None
    seeds: Mapping[Position, int]
    includes_training_noise: bool
    budget: Mapping[str, float] = field(default_factory=dict)
    least_provable: float = 0.0
    folds: int | None = None  # that judged the images, each a part of them
    runtime: str | None = None  # in which latency and memory were measured, for people


def recommend(
    estimates: Estimates,
    costs: Mapping[Position, CellCost],
    margin: float,
    budget: Mapping[str, float] | None = None,
    cost: CostName | None = None,
    draws: int = DRAWS,
) -> Recommendation:
    """Choose the cheapest cell whose deficit to the best has a 95 % upper bound within `margin` (0..1).

    The bounds are simultaneous over all candidates, so choosing among them costs nothing of the 95 %. Under a
    `budget` (highest latency_ms, memory_mb, flops in 10⁹, params in 10⁶) only cells known to be within it count,
    and the best is the best of those. `cost` says what is cheap; without it latency, else FLOPs, else parameters:
    the first known for every cell within the budget. A cell of unknown cost cannot be chosen, but can be the best.
    Raises ResomapError for costs of different devices, a cost that does not exist, or a margin outside 0..1.
    """
    if not 0 <= margin < 1:
        raise ResomapError(f"a margin of {margin} is no share; write 0.01 for one point")
    budget = dict(budget or {})
    for name in [*budget, *([cost] if cost else [])]:
        require_cost_name(name)
    costs = {cell: costs[cell] for cell in estimates.cells if cell in costs}
    require_one_device(costs)
    excluded = dict.fromkeys(estimates.undefined, f"its {estimates.metric} is undefined")
    within = []
    for cell in estimates.cells:
        reason = _over_budget(costs.get(cell), budget)
        if reason:
            excluded[cell] = reason
        else:
            within.append(cell)
    cost = cost or _cheapness(within, costs)
    of_cells = {cell: costs[cell].get(cost) if cost and cell in costs else None for cell in within}
    values = {cell: float(estimates.values[estimates.index(cell)]) for cell in within}
    candidates = tuple(sorted(within, key=lambda cell: (_or_infinity(of_cells[cell]), -values[cell])))
    kept = estimates.only(list(candidates))
    comparison = Deficits(kept, draws) if candidates else None
    deficits = comparison.table() if comparison else {}
    shown = [cell for cell in candidates if deficits[cell].upper <= margin and of_cells[cell] is not None]
    # Where no cost at all is known nothing is "cheapest", and nothing is recommended.
    chosen = shown[0] if shown else None
    before = candidates[: candidates.index(chosen)] if chosen else candidates
    undecided = tuple(cell for cell in before if deficits[cell].may_be_best or deficits[cell].estimate < margin)
    return Recommendation(
        chosen=chosen,
        best=max(candidates, key=lambda cell: values[cell]) if candidates else None,
        candidates=candidates,
        excluded=excluded,
        deficits=deficits,
        open=undecided,
        cost=cost,
        costs=of_cells,
        device=next((one.device for one in costs.values()), None),
        margin=margin,
        metric=estimates.metric,
        values=values,
        images=estimates.images,
        groups=None if estimates.groups.are_images else estimates.groups.count,
        seeds={cell: int(kept.seeds[index]) for index, cell in enumerate(kept.cells)},
        includes_training_noise=estimates.includes_training_noise,
        budget=budget,
        least_provable=comparison.least_provable() if comparison else 0.0,
        folds=estimates.folds,
        runtime=next((one.runtime for one in costs.values()), None) or None,
    )


def _over_budget(cost: CellCost | None, budget: Mapping[str, float]) -> str | None:
    for name in get_args(CostName):
        if name not in budget:
            continue
        value = cost.get(name) if cost else None
        if value is None:
            return f"its {name} is unknown, so it cannot be held against the budget"
        if value > budget[name]:
            return f"its {name} of {value:.4g} is over the budget of {budget[name]:.4g}"
    return None


def _cheapness(cells: list[Position], costs: Mapping[Position, CellCost]) -> CostName | None:
    """Return the first cost known for all cells, else the first known for most of them, else None."""
    known = {name: sum(cell in costs and costs[cell].get(name) is not None for cell in cells) for name in PREFERRED}
    most = max(known.values())
    return next(name for name in PREFERRED if known[name] == most) if most else None


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else value
