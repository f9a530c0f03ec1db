"""Recommendation as a part of the document, and the notes that its reader needs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from resomap.cells.device_costs import is_elsewhere
from resomap.statistics import Answer, Choice, Deficit, Position, Prospect, Recommendation, sentences
from resomap.statistics.wording import estimand, points
from resomap.summary import answer_parts, parts
from resomap.summary.evidence import Evidence

FEW_GROUPS = 10  # of a class; with fewer the variance between groups is hardly known


def advise(
    found: Recommendation,
    answer: Answer | None,
    ahead: Sequence[Prospect],
    corrected: Mapping[Position, float],
    seconds_per_seed: float | None,
    score: str,
) -> answer_parts.Advice:
    """Return what the answer rests on, as the document has it.

    `ahead` is what would make an undecided map decide; `corrected` are the cells' values without the luck of being
    chosen; `seconds_per_seed` is the time of training each cell once more; `score` is a sentence on what the answer's
    cell reached.
    """
    choices = {one.cell: one for one in answer.choices} if answer else {}
    return answer_parts.Advice(
        text=sentences(found, answer, ahead, seconds_per_seed, score),
        chosen=as_place(found.chosen) if found.chosen else None,
        best=as_place(found.best) if found.best else None,
        best_value=found.values[found.best] if found.best else None,
        best_corrected=corrected.get(found.best) if found.best else None,
        cost=found.cost,
        device=found.device or None,
        runtime=found.runtime,
        candidates=[
            answer_parts.Candidate(
                model=cell[0],
                resolution=cell[1],
                value=found.values[cell],
                cost=found.costs[cell],
                deficit=as_bound(found.deficits[cell]),
                expected_deficit=choices[cell].expected_deficit,
                probability_within_margin=choices[cell].probability_within_margin,
            )
            for cell in found.candidates
        ],
        open=_places(found.open),
        excluded=[
            answer_parts.Excluded(model=cell[0], resolution=cell[1], reason=why) for cell, why in found.excluded.items()
        ],
        images=found.images,
        groups=found.groups,
        folds=found.folds,
        estimand=None if found.folds is None else estimand(found.folds),
        includes_training_noise=found.includes_training_noise,
        least_provable=found.least_provable,
        surer=[
            answer_parts.Surer(
                kind=one.kind,
                count=one.count,
                low=one.low,
                high=one.high,
                hours=one.count * seconds_per_seed / 3600 if one.kind == "seeds" and seconds_per_seed else None,
            )
            for one in ahead
        ],
    )


def as_answer(answer: Answer, breaking: str | None) -> answer_parts.Answer:
    """Return the answer as the document has it."""
    return answer_parts.Answer(
        **_fields(answer.choice), decided=answer.decided, rule=answer.rule, breaking_model=breaking
    )


def as_choice(choice: Choice) -> answer_parts.Choice:
    """Return a cell and what it may lose as the document has it."""
    return answer_parts.Choice(**_fields(choice))


def _fields(choice: Choice) -> dict[str, Any]:
    model, resolution = choice.cell
    return {"model": model, "resolution": resolution} | {
        name: value for name, value in vars(choice).items() if name != "cell"
    }


def notes(
    evidence: Evidence,
    advice: answer_parts.Advice | None,
    answer: answer_parts.Answer | None,
    unsteady: Mapping[Position, str],
) -> list[str]:
    """Return the notes that a reader of the answer needs, one sentence each.

    They name missing trainings, a margin that nothing can be proven within, a model that breaks the pattern,
    resolutions that enlarge the images, trainings that are not exactly repeatable, and latencies that are `unsteady`,
    with the reason.
    """
    found = []
    report = evidence.study.config.report
    margin = report.margin
    what = "validation images" if advice is None or advice.folds is None else "images"
    # Where a cell stands out, more is proven than could be of cells all alike.
    if advice and advice.chosen is None and advice.least_provable > margin and len(advice.candidates) > 1:
        found.append(
            f"With {advice.images:,} {what} no map of these cells can prove a deficit of less than about "
            f"{points(advice.least_provable)}, however often they are trained; the margin is {points(margin)}."
        )
    if answer and answer.breaking_model:
        found.append(
            f"{answer.breaking_model} breaks the pattern of the other models over the resolutions, so no cell borrows "
            "strength from others: all probabilities are more cautious."
        )
    trainings = [gap for gap in evidence.missing if gap.what == "training"]
    if trainings:
        names = ", ".join(dict.fromkeys(f"{gap.model}@{gap.resolution}" for gap in trainings[:4]))
        more = f" and {len(trainings) - 4} more" if len(trainings) > 4 else ""
        found.append(f"{len(trainings)} trainings of the grid are not in this map: {names}{more}.")
    native = evidence.manifest.native_size["median"] if evidence.manifest else None
    above = [size for size in evidence.study.config.resolutions if native is not None and size > native]
    if above:
        sizes = ", ".join(map(str, above))
        found.append(f"The images have {native} px (median of the short sides): at {sizes} px they are enlarged.")
    if answer and answer.resolution in above:
        found.append("The recommended resolution enlarges the images: it adds computation, not detail.")
    found += _few_groups(evidence)
    inexact = sum(not one.marker.exact for one in evidence.trained)
    if inexact:
        found.append(f"{inexact} of {len(evidence.trained)} trainings are not repeatable to the bit; each says why.")
    if unsteady:
        (model, resolution), why = next(iter(unsteady.items()))
        more = f", and {len(unsteady) - 1} more like it" if len(unsteady) > 1 else ""
        again = "`measure.py --anew`" if is_elsewhere(report) else "`snakemake results/costs.csv -R cost`"
        found.append(
            f"Latencies order nothing here, FLOPs do: that of {model}@{resolution} is unsteady ({why}{more}). Measure "
            f"them on a machine that does nothing else: {again}."
        )
    return found


def _few_groups(evidence: Evidence) -> list[str]:
    """Return a warning where the validation images of a class come from so few groups that intervals are guesses."""
    groups = evidence.groups["val"]
    known = next((one.predictions for one in evidence.trained if one.predictions is not None), None)
    judged = evidence.first_judged
    if groups is None or known is None or judged is None:
        return []
    labels = np.asarray(judged.labels)
    counts = {name: len(set(groups[labels == index])) for index, name in enumerate(known.classes)}
    few = {name: count for name, count in counts.items() if 0 < count < FEW_GROUPS}
    if not few:
        return []
    named = ", ".join(f"{name} from {count}" for name, count in list(few.items())[:3])
    return [
        f"Validation images of some classes come from fewer than {FEW_GROUPS} groups ({named}): how wide their figures "
        "are is hardly known; add groups (patients, modules), not images of the same ones."
    ]


def as_bound(deficit: Deficit) -> parts.Bound:
    """Return a deficit as the document has it."""
    return parts.Bound(estimate=deficit.estimate, upper=deficit.upper, may_be_best=deficit.may_be_best)


def as_place(position: Position) -> parts.Place:
    """Return a square of the map as the document names it."""
    return parts.Place(model=position[0], resolution=position[1])


def _places(positions: Iterable[Position]) -> list[parts.Place]:
    return [as_place(position) for position in positions]
