"""Resolutions compared per model: the best one, and those that cannot be told from it."""

from dataclasses import dataclass
from itertools import combinations

from resomap.statistics.comparisons import Comparison, compare
from resomap.statistics.interval_estimates import DRAWS, Estimates
from resomap.statistics.samples import Position


@dataclass(frozen=True)
class Resolutions:
    """Comparison of one model's resolutions (pixels). `best` has the highest estimate; `alike`, ascending, has it too.

    `claims`: pairs (better, worse) of resolutions that may be said to differ for this model. Empty with one
    seed a cell, where `alike` speaks of the trained models at hand and training noise is not in it.
    """

    model: str
    best: int
    alike: tuple[int, ...]
    claims: tuple[tuple[int, int], ...]
    comparisons: tuple[Comparison, ...]
    includes_training_noise: bool


def compare_resolutions(estimates: Estimates, draws: int = DRAWS) -> dict[str, Resolutions]:
    """Compare all pairs of resolutions within each model, simultaneous over all models of the map.

    So the chance that a map without any effect makes one claim or more is 5 %.
    """
    models = dict.fromkeys(model for model, _ in estimates.cells)
    of_model = {model: sorted(cell for cell in estimates.cells if cell[0] == model) for model in models}
    pairs = [pair for cells in of_model.values() for pair in combinations(cells, 2)]
    compared: dict[tuple[Position, Position], Comparison] = {
        (one.first, one.second): one for one in compare(estimates, pairs, draws)
    }
    return {model: _resolutions(model, estimates, cells, compared) for model, cells in of_model.items()}


def _resolutions(
    model: str,
    estimates: Estimates,
    cells: list[Position],
    compared: dict[tuple[Position, Position], Comparison],
) -> Resolutions:
    # Of equal values the lower resolution, which costs less, is named the best.
    best = max(cells, key=lambda cell: (estimates.values[estimates.index(cell)], -cell[1]))
    own = tuple(compared[pair] for pair in combinations(cells, 2))
    apart = {frozenset((one.first, one.second)) for one in own if one.is_distinguishable}
    claims = tuple(
        (one.first[1], one.second[1]) if one.difference > 0 else (one.second[1], one.first[1])
        for one in own
        if one.is_claim
    )
    alike = tuple(cell[1] for cell in cells if frozenset((cell, best)) not in apart)
    return Resolutions(model, best[1], alike, claims, own, estimates.includes_training_noise)
