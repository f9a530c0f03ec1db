"""Pareto front of quality against a cost: cells that no other cell beats in both, and those that may be among them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np

from resomap.core.errors import ResomapError
from resomap.statistics.best import Deficits
from resomap.statistics.samples import Position

CostName: TypeAlias = Literal["latency_ms", "memory_mb", "flops", "params"]


@dataclass(frozen=True)
class CellCost:
    """Cost of a cell on one device: latency in ms, memory in MB, FLOPs in 10⁹, parameters in 10⁶; None: unknown.

    `device` is the measured device's name, `runtime` what computed there, for people. FLOPs and parameters depend on
    neither; they travel with them all the same.
    """

    device: str
    values: Mapping[CostName, float | None] = field(default_factory=dict)
    runtime: str = ""

    def get(self, name: CostName) -> float | None:
        """Return the cost of that name, None where it is unknown."""
        return self.values.get(name)


def require_one_device(costs: Mapping[Position, CellCost]) -> None:
    """Raise ResomapError where costs were measured on different devices: they must never be compared."""
    devices = dict.fromkeys(cost.device for cost in costs.values())
    if len(devices) > 1:
        raise ResomapError(
            f"costs were measured on {' and on '.join(devices)}; compare cells with the costs of one device"
        )


def require_cost_name(name: str) -> None:
    """Raise ResomapError for a cost that does not exist."""
    if name not in get_args(CostName):
        raise ResomapError(f"'{name}' is no cost of a cell; choose one of {', '.join(get_args(CostName))}")


def pareto_front(
    values: Mapping[Position, float | None], costs: Mapping[Position, CellCost], name: CostName
) -> list[Position]:
    """Return the cells with no other one at least as good and at most as dear, and better or cheaper.

    Higher quality is better. Sorted from cheap to dear. A cell whose quality or cost is undefined is not on the front
    and keeps none from it. Raises ResomapError for costs of different devices, or a cost that does not exist.
    """
    require_cost_name(name)
    require_one_device({cell: cost for cell, cost in costs.items() if cell in values})
    points = []
    for cell, value in values.items():
        cost = costs[cell].get(name) if cell in costs else None
        if value is not None and cost is not None:
            points.append((cost, -value, cell))
    front: list[Position] = []
    last: tuple[float, float] | None = None
    for cost, negative, cell in sorted(points):
        if last is None or negative < last[1] or (cost, negative) == last:
            front.append(cell)
            last = (cost, negative)
    return front


def possible_front(deficits: Deficits, costs: Mapping[Position, CellCost], name: CostName) -> list[Position]:
    """Return the cells that may be on the true front: none at most as dear is shown to be better.

    `pareto_front` is the front of the estimates, of which one to seven of ten cells are there by luck. Here the whole
    true front is among the cells returned in 95 % of maps (the comparisons are simultaneous). Costs count as known.
    Sorted from cheap to dear; raises as `pareto_front` does.
    """
    require_cost_name(name)
    cells = deficits.estimates.cells
    require_one_device({cell: cost for cell, cost in costs.items() if cell in cells})
    known = {cell: value for cell in cells if cell in costs and (value := costs[cell].get(name)) is not None}
    dear = np.array([known.get(cell, np.inf) for cell in cells])
    beaten = np.asarray((deficits.beaten() & (dear[None, :] <= dear[:, None])).any(axis=1)).tolist()
    possible = [cell for cell, is_beaten in zip(cells, beaten, strict=True) if cell in known and not is_beaten]
    return sorted(possible, key=lambda cell: known[cell])
