"""Wording of an answer: what to use, how sure that is, and what would make it surer, in plain sentences."""

import math
from collections.abc import Sequence

from resomap.core.text import duration
from resomap.statistics.answer import Answer
from resomap.statistics.pareto import CostName
from resomap.statistics.prospects import Prospect
from resomap.statistics.recommendation import Recommendation
from resomap.statistics.samples import Position, position_name

_COST_NAMES: dict[CostName, str] = {
    "latency_ms": "latency",
    "memory_mb": "memory",
    "flops": "FLOPs",
    "params": "parameters",
}
COST_UNITS: dict[CostName, str] = {"latency_ms": "ms", "memory_mb": "MB", "flops": "G", "params": "M"}


def sentences(
    result: Recommendation,
    answer: Answer | None,
    ahead: Sequence[Prospect] = (),
    seconds_per_seed: float | None = None,
    score: str = "",
) -> str:
    """Return what to do, how far it can be trusted, and what would tell more. Differences in points (hundredths).

    seconds_per_seed: time of training each cell once more; None where it is not known. score: a sentence on what the
    chosen cell reached.
    """
    if answer is None:
        return _without_candidates(result)
    if answer.rule == "only cell":
        use = f"Use {position_name(answer.choice.cell)}: it is the only cell{_within_budget(result)}."
        return " ".join(part for part in (use, score, _basis(result)) if part)
    parts = [_choice(result, answer), score, _losses(answer), _basis(result)]
    if not answer.decided:
        parts.append(_surer(result, answer, ahead, seconds_per_seed))
    return " ".join(part for part in parts if part)


def validation_images(result: Recommendation) -> str:
    """Return how many images the answer rests on, and of how many groups where they belong together."""
    of_groups = "" if result.groups is None else f" of {result.groups:,} groups"
    if result.folds is not None:
        return f"{result.images:,} images{of_groups}, each judged by a training that did not see it"
    return f"{result.images:,} validation images{of_groups}"


def estimand(folds: int) -> str:
    """Return what the qualities of folds are those of."""
    return f"training on {folds - 1}/{folds} of such data"


def points(share: float) -> str:
    """Return a difference of shares in points: `0.3 points`."""
    text = f"{share * 100:.2g}" if share < 0.1 else f"{share * 100:.0f}"
    return f"{text} point{'' if text == '1' else 's'}"


def percent(probability: float) -> str:
    """Return a probability in percent, rounded down: what does not reach a bound does not seem to."""
    whole = math.floor(100 * probability + 1e-9)
    return "under 1 %" if whole < 1 else "over 99 %" if whole >= 100 else f"{whole} %"


def _choice(result: Recommendation, answer: Answer) -> str:
    cell, metric = answer.choice.cell, result.metric.replace("_", " ")
    use = f"Use {position_name(cell)}" + ("" if result.cost is None else f" ({_cost(result, cell)})")
    best = f"{points(result.margin)} of the best of {len(result.candidates)} cells{_within_budget(result)} in {metric}"
    probability = answer.choice.probability_within_margin
    if answer.rule == "probable":
        first = cell == result.candidates[0]
        cheapest = "the cheapest of all" if first else "no cheaper cell is so with that probability"
        return f"{use}: with a probability of {percent(probability)} it is within {best}, and {cheapest}."
    if answer.rule == "proven":
        return f"{use}: it is proven, with 95 % confidence, to be within {best}, and no cheaper cell is."
    likely = f"it is probably ({percent(probability)})" if probability > 0.5 else f"it is, at {percent(probability)},"
    why = f"no cell is so at {percent(answer.confidence)}, and this one loses least"
    if result.cost is None:
        why = "it loses least, and none is the cheapest, because no cost of any cell is known"
    return f"{use}: {likely} within {best}; {why}."


def _losses(answer: Answer) -> str:
    choice = answer.choice
    if choice.proven_deficit <= 0:
        return "It is proven (95 %) to be the best of them."
    return (
        f"Expected: {points(choice.expected_deficit)} below the best; proven (95 %): at most "
        f"{points(choice.proven_deficit)} below."
    )


def _basis(result: Recommendation) -> str:
    if result.folds is not None and not result.includes_training_noise:
        return (
            f"It rests on {result.images:,} images of one fold: how much trainings vary is not known before a second "
            "one is trained, so nothing is decided, and what is proven is said of these trained models only."
        )
    if not result.includes_training_noise:
        return (
            f"It rests on {validation_images(result)} and one seed a cell: how much trainings of these images vary is "
            "not known, so nothing is decided, and what is proven is said of these trained models only."
        )
    fewest, most = min(result.seeds.values()), max(result.seeds.values())
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    if result.folds is not None:
        each = "" if most == 1 else f", with {seeds} seeds a cell"
        return (
            f"It rests on {validation_images(result)} ({result.folds} folds{each}), and is said of "
            f"{estimand(result.folds)}."
        )
    return f"It rests on {validation_images(result)} and {seeds} seeds a cell."


def _surer(result: Recommendation, answer: Answer, ahead: Sequence[Prospect], seconds: float | None) -> str:
    """Return what would decide, and the margin that is decided already."""
    if result.folds is not None and not result.includes_training_noise:
        return "The other folds would tell how much they vary."
    if not result.includes_training_noise:
        price = f" (about {duration(seconds)} here)" if seconds else ""
        return f"A second seed of each cell{price} would tell how much they vary."
    ways = [_way(one, seconds, result.folds) for one in ahead]
    if ways:
        text = f"With a chance of about 80 % it would be decided by {' or by '.join(ways)} [may do to nearly surely]."
    else:
        text = "No reasonable number of seeds or images would decide it."
    if answer.least_margin is None:
        return text
    cell = next(one.cell for one in answer.ladder if one.probable_deficit == answer.least_margin)
    enough = math.ceil(1000 * answer.least_margin) / 1000
    would = "it would be" if cell == answer.choice.cell else f"{position_name(cell)} would be"
    return f"{text} With a margin of {points(enough)} {would} decided on now."


def _way(one: Prospect, seconds: float | None, folds: int | None) -> str:
    most = f"{one.high:,}" if one.high is not None else "many more"
    among = f" [{one.low:,} to {most}]"
    if one.kind == "images":
        return f"{one.count:,} more {'validation images' if folds is None else 'images outside the test split'}{among}"
    price = f" (about {duration(seconds * one.count)} here)" if seconds else ""
    return f"{one.count} more seed{'' if one.count == 1 else 's'} a cell{among}{price}"


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
    is_measured = result.cost in ("latency_ms", "memory_mb") and result.device
    where = f" on {result.device}" + (f" in {result.runtime}" if result.runtime else "") if is_measured else ""
    return f"{name} {value:.3g} {unit}{where}"


def _within_budget(result: Recommendation) -> str:
    return " within the budget" if result.budget else ""
