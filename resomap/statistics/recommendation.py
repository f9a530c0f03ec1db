"""Recommendation of a cell: the cheapest one that is shown to be within the margin of the best.

Decided on the validation split; the test split only reports.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict, get_args

from resomap.core.errors import ResomapError
from resomap.statistics.best import Deficit, Deficits
from resomap.statistics.interval_estimates import DRAWS, Estimates
from resomap.statistics.pareto import CellCost, CostName, require_cost_name, require_one_device
from resomap.statistics.samples import Position

# What "cheapest" means, the first of them that is known for every cell.
PREFERRED: tuple[CostName, ...] = ("latency_ms", "flops", "params")
MOST = 100.0  # times the images or seeds: what needs more will not be settled by them


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A recommendation and what it rests on. Qualities are shares (0..1) on the validation split.

    chosen: None where undecided. best: the highest estimate among `candidates` (its lead is no proof). candidates:
    all cells within the budget, from cheap to dear. excluded: the others, and why. deficits: to the best of the
    candidates, simultaneous. open: cells of which the deficit may be within the margin but is not shown to be: the
    cheaper ones where a cell is chosen, all of them where none is. more_images, more_seeds: about how many more of one
    of them (images of the validation split; seeds a cell) would settle it if the estimates stay; None where that
    alone would not, or where nothing is to be settled. more_of_both: (images, seeds) where neither alone would.
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
    more_images: int | None = None
    more_seeds: int | None = None
    more_of_both: tuple[int, int] | None = None


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
    more: _Needed = {} if chosen or cost is None or comparison is None else _needed(comparison, margin)
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
        **more,
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


class _Needed(TypedDict, total=False):
    more_images: int | None
    more_seeds: int | None
    more_of_both: tuple[int, int] | None


def _needed(comparison: Deficits, margin: float) -> _Needed:
    """Return about how many more images, and more seeds a cell, until a first candidate is within the margin.

    Standard errors shrink with 1 / sqrt(images) but for training noise, which only seeds shrink. The estimates
    themselves will move, nobody knows where to: the present ones stand in.
    """
    estimates = comparison.estimates

    def images(times: float) -> int:
        return _two_digits((times - 1) * estimates.images)

    def seeds(times: float) -> int:
        return math.ceil((times - 1) * int(estimates.seeds.max()))

    by_images = _least(comparison, margin, lambda times: (times, 1.0))
    # Where nothing was trained twice, training noise is unknown, and so is how many seeds would do.
    by_seeds = _least(comparison, margin, lambda times: (1.0, times)) if estimates.includes_training_noise else None
    found: _Needed = {
        "more_images": None if by_images is None else images(by_images),
        "more_seeds": None if by_seeds is None else seeds(by_seeds),
    }
    if by_images is None and by_seeds is None and estimates.includes_training_noise:
        by_both = _least(comparison, margin, lambda times: (times, times))
        found["more_of_both"] = None if by_both is None else (images(by_both), seeds(by_both))
    return found


def _least(comparison: Deficits, margin: float, of_times: Callable[[float], tuple[float, float]]) -> float | None:
    """Return the least times (images, seeds) that bring a cell's upper bound within the margin, by bisection."""

    def settles(times: float) -> bool:
        errors = comparison.errors(*of_times(times))
        return bool((comparison.upper_bounds(errors) <= margin).any())

    low, high = 1.0, MOST
    if not settles(high):
        return None
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if settles(middle) else (middle, high)
    return high


def _two_digits(count: float) -> int:
    """Round up to two digits: more would pretend to know more."""
    unit = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return math.ceil(count / unit) * unit
