"""Tables of the choice: the ladder of cells that are the cheapest for some margin, and all candidates."""

from resomap.report.blocks import Align, Table
from resomap.report.chapters.pareto import COSTS
from resomap.report.material import Material, interval, name, quality, scaled
from resomap.statistics.wording import COST_UNITS, percent, points

_WIDTHS: list[Align] = ["text", "number", "number", "number", "number", "number", "nowrap"]


def ladder(material: Material) -> Table | None:
    """Return the table of what each cheaper cell may lose and what it saves; None with fewer than two rungs."""
    rungs = material.map.ladder
    advice = material.map.recommendation
    if advice is None or len(rungs) < 2:
        return None
    dearest = rungs[-1].cost
    sure = percent(material.map.confidence)
    rows = []
    for one in rungs:
        saved = f"{1 - one.cost / dearest:.0%}" if one.cost and dearest and one is not rungs[-1] else "–"
        is_answer = (one.model, one.resolution) == material.chosen
        losses = [_points(value) for value in (one.expected_deficit, one.probable_deficit, one.proven_deficit)]
        cost = scaled(one.cost)
        rows.append([name(one), cost, saved.replace("%", " %"), *losses, "the answer" if is_answer else ""])
    return Table(
        "The ladder: what a cheaper cell may lose",
        [
            "cell",
            _cost_heading(advice.cost),
            "saves",
            "expected loss (points)",
            f"at most, {sure} probable",
            "at most, 95 % proven",
            "",
        ],
        rows,
        _WIDTHS,
        "From cheap to dear, each cell of which no cheaper one probably loses as little: each is the cheapest for some "
        "margin. Losses are against the best cell; what is saved is against the last rung. What is probable borrows "
        "strength over models and resolutions, what is proven does not.",
    )


def candidates(material: Material) -> Table | None:
    """Return the table of the cells that the answer was chosen from, from cheap to dear; None without any."""
    advice = material.map.recommendation
    if advice is None or not advice.candidates:
        return None
    rows = []
    for one in advice.candidates:
        position = (one.model, one.resolution)
        verdict = "the answer" if position == material.chosen else ""
        if not verdict and one.deficit.upper <= material.map.margin:
            verdict = "proven within the margin"
        square = material.squares.get(position)
        test = interval(material.judged(square, "test")) if square else "–"
        validation = interval(material.judged(square)) if square else quality(one.value)
        probability = percent(one.probability_within_margin)
        rows.append([name(one), scaled(one.cost), validation, probability, _points(one.deficit.upper), test, verdict])
    return Table(
        "What there was to choose from",
        [
            "cell",
            _cost_heading(advice.cost),
            f"validation {material.metric}",
            f"within {points(material.map.margin)}",
            "deficit at most (points)",
            "test",
            "",
        ],
        rows,
        _WIDTHS,
        "From cheap to dear, with the probability that the deficit to the best is within the margin, and the deficit "
        "that is proven at most, with 95 % confidence, all cells together. Brackets are 95 % intervals. Nothing is "
        "chosen on test images.",
    )


def _points(share: float) -> str:
    return f"{share * 100:.1f}"


def _cost_heading(cost: str | None) -> str:
    unit = next((unit for name, unit in COST_UNITS.items() if name == cost), None)
    if cost is None or unit is None:
        return "cost"
    word = COSTS[cost][0]
    return f"{word if cost == 'flops' else word.lower()} ({unit})"
