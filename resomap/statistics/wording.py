"""Wording of a recommendation: two plain sentences for a person."""

from collections.abc import Sequence

from resomap.statistics.pareto import CostName
from resomap.statistics.recommendation import Recommendation
from resomap.statistics.samples import Position, position_name

_COST_NAMES: dict[CostName, str] = {
    "latency_ms": "latency",
    "memory_mb": "memory",
    "flops": "FLOPs",
    "params": "parameters",
}
COST_UNITS: dict[CostName, str] = {"latency_ms": "ms", "memory_mb": "MB", "flops": "G", "params": "M"}


def sentences(result: Recommendation) -> str:
    """Return what to do, and how far it can be trusted, in words. Differences in points (hundredths)."""
    if not result.candidates:
        return _without_candidates(result)
    if result.chosen is not None:
        return f"{_choice(result, result.chosen)} {_trust(result)}"
    if result.cost is None:
        return (
            "No cell can be called the cheapest, because no cost of any cell is known. "
            "Measure the costs; until then only the qualities can be compared."
        )
    return f"{_undecided(result)} {_way_out(result)}"


def validation_images(result: Recommendation) -> str:
    """Return how many images the recommendation rests on, and of how many groups where they belong together."""
    of_groups = "" if result.groups is None else f" of {result.groups:,} groups"
    return f"{result.images:,} validation images{of_groups}"


def name_cells(cells: Sequence[Position], at_most: int = 4) -> str:
    """Return names of cells in words: `a at 64 px, b at 32 px and 3 others`."""
    names = [position_name(cell) for cell in cells]
    if len(names) > at_most:
        names = [*names[: at_most - 1], f"{len(names) - at_most + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _choice(result: Recommendation, chosen: Position) -> str:
    metric = result.metric.replace("_", " ")
    if len(result.candidates) == 1:
        return f"Use {position_name(chosen)}: it is the only cell{_within_budget(result)}."
    bound = result.deficits[chosen].upper
    among = f"{len(result.candidates)} cells{_within_budget(result)}"
    if bound > 0:
        proof = f"with 95 % confidence its {metric} is at most {_points(bound)} below that of the best of {among}"
    else:
        proof = f"with 95 % confidence its {metric} is the best of {among}"
    if chosen == result.candidates[0]:
        return f"Use {position_name(chosen)}: {proof}, and it is the cheapest of them ({_cost(result, chosen)})."
    margin = f"no cheaper cell is shown to be within {_points(result.margin)}"
    return f"Use {position_name(chosen)} ({_cost(result, chosen)}): {proof}, and {margin}."


def _trust(result: Recommendation) -> str:
    if not result.includes_training_noise:
        return (
            "With one seed a cell this is said of these trained models only: training noise is not in it, and whether "
            "that resolution is the better one to train at is not known."
        )
    fewest, most = min(result.seeds.values()), max(result.seeds.values())
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    text = f"It rests on {validation_images(result)} and {seeds} seeds a cell, training noise included"
    if result.open:
        text += f"; {name_cells(result.open)}, cheaper, may be as good but {_verb(result.open)} not shown to be"
    return text + "."


def _undecided(result: Recommendation) -> str:
    word = "between" if len(result.open) > 1 else "about"
    metric = f"best cell's {result.metric.replace('_', ' ')}{_within_budget(result)}"
    return (
        f"Undecided {word} {name_cells(result.open)}: with {validation_images(result)} none is shown, with 95 % "
        f"confidence, to be within {_points(result.margin)} of the {metric}."
    )


def _way_out(result: Recommendation) -> str:
    ways = []
    if result.more_images is not None:
        ways.append(f"{result.more_images:,} more validation images")
    if result.more_seeds is not None:
        ways.append(_seeds(result.more_seeds))
    if result.more_of_both is not None:
        images, seeds = result.more_of_both
        ways.append(f"{images:,} more validation images together with {_seeds(seeds)}")
    if ways:
        text = f"About {' or '.join(ways)} would settle it if the estimates stay as they are"
    else:
        text = "No reasonable number of images or seeds would settle it; a wider margin would"
    if not result.includes_training_noise:
        text += "; with one seed a cell it would still be said of these trained models only, without training noise"
    return text + "."


def _without_candidates(result: Recommendation) -> str:
    limits = ", ".join(f"{name} {value:g}" for name, value in result.budget.items())
    if not limits:
        return f"No cell can be recommended, because the {result.metric} of each is undefined. Choose another metric."
    reasons = "; ".join(f"{position_name(cell)}: {why}" for cell, why in list(result.excluded.items())[:3])
    more = "" if len(result.excluded) <= 3 else f"; and {len(result.excluded) - 3} others"
    return f"No cell is known to be within the budget ({limits}). Raise it, or train smaller cells ({reasons}{more})."


def _cost(result: Recommendation, cell: Position) -> str:
    value = result.costs[cell]
    if result.cost is None or value is None:
        return "cost unknown"
    name, unit = _COST_NAMES[result.cost], COST_UNITS[result.cost]
    where = f" on {result.device}" if result.cost in ("latency_ms", "memory_mb") and result.device else ""
    return f"{name} {value:.3g} {unit}{where}"


def _within_budget(result: Recommendation) -> str:
    return " within the budget" if result.budget else ""


def _points(share: float) -> str:
    points = f"{share * 100:.2g}" if share < 0.1 else f"{share * 100:.0f}"
    return f"{points} point{'' if points == '1' else 's'}"


def _seeds(count: int) -> str:
    return f"{count} more seed{'' if count == 1 else 's'} a cell"


def _verb(cells: Sequence[Position]) -> str:
    return "is" if len(cells) == 1 else "are"
