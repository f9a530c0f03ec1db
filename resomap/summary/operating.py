"""Operating points of the map: the question that cells are compared by, and each training's decisions on test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from resomap.cells import decision
from resomap.cells.archive import held_fingerprint
from resomap.cells.predictions import EVALUATED, Predictions
from resomap.compute.thresholds import HELD, OneVsRest, RankMetric, ThresholdMetric, least_held
from resomap.config.judging import FurtherMetric, Report
from resomap.config.positive import needs_positive, positive_index
from resomap.statistics import Question, Sample, quality
from resomap.statistics.carried import carry, decisions
from resomap.statistics.operating_point import Scores
from resomap.statistics.prevalence import Figure, at_prevalence
from resomap.statistics.shares import Share
from resomap.summary import document
from resomap.summary.evidence import Evidence, Trained


def question(evidence: Evidence) -> Question:
    """Return the metric that the cells are compared by: `report.metric`, with class and share where it needs them.

    Raises ResomapError where the images have no class of the name in `report.positive`.
    """
    return question_of(evidence.study.config.report, _classes(evidence))


def question_of(report: Report, classes: Sequence[str]) -> Question:
    """Return the metric that cells with these classes are compared by. Raises ResomapError as `question` does."""
    metric = report.metric
    if metric in get_args(ThresholdMetric) or metric in get_args(RankMetric):
        return OneVsRest(metric, positive_index(report, classes), report.at)  # type: ignore[arg-type]
    return metric  # type: ignore[return-value]


def further_values(evidence: Evidence) -> dict[str, dict[int, dict[str, float | None]]]:
    """Return the report's metric by uid of the training, test resolution and split, where markers lack it.

    At each resolution the threshold is chosen on validation images of that resolution. Empty for other metrics.
    """
    if evidence.study.config.report.metric not in get_args(FurtherMetric):
        return {}
    wanted = question(evidence)
    found: dict[str, dict[int, dict[str, float | None]]] = {}
    for one in evidence.trained:
        for size in {*evidence.study.config.resolutions, one.cell.resolution}:
            parts = {split: one.tested(size, split) for split in EVALUATED}
            samples = {split: evidence.sample(part, split) for split, part in parts.items() if part is not None}
            if len(samples) == len(EVALUATED):
                validation, test = (samples[split] for split in EVALUATED)
                values = {"val": _value(wanted, validation), "test": _on_test(wanted, validation, test)}
                found.setdefault(one.marker.uid, {})[size] = values
    return found


def operating_notes(evidence: Evidence) -> list[str]:
    """Return what a reader of operating points must know: a class that nobody named, too few images to hold a share."""
    study = evidence.study
    classes = next((one.predictions.classes for one in evidence.trained if one.predictions is not None), None)
    monitors = [study.recipe(one.cell).monitor for one in evidence.trained]
    if classes is None or not needs_positive(study.config, monitors):
        return []
    found, positive = [], classes[positive_index(study.config.report, classes)]
    if study.config.report.positive is None:
        found.append(f"{positive} is taken for the positive class, the second of two; `report.positive` names another.")
    wanted = question(evidence)
    if isinstance(wanted, OneVsRest) and wanted.needs_threshold:
        judged = evidence.first_judged
        labels = np.array([]) if judged is None else judged.labels
        held = int(((labels == wanted.positive) != wanted.holds_negatives).sum())
        if held < (needed := least_held(wanted.at)):
            share = HELD[wanted.metric]  # type: ignore[index]
            found.append(
                f"{held} validation images cannot hold a {share} of {wanted.at:g} on others: it takes {needed} of "
                "their class, and on average the threshold will hold less."
            )
    return found


def _on_test(wanted: Question, validation: Sample, test: Sample) -> float | None:
    if not isinstance(wanted, OneVsRest) or not wanted.needs_threshold:
        return _value(wanted, test)
    carried = carry(validation, test, wanted)
    return carried.value.value if carried else None


def operating_points(evidence: Evidence) -> list[document.OperatingPoint]:
    """Return the decisions of each training for the positive class, in the grid's order.

    At the threshold of an operating point, else, where a prevalence is given, of the likeliest class. Empty where
    neither is asked for. The threshold is chosen on validation; test images choose nothing.
    """
    report = evidence.study.config.report
    wanted = question(evidence)
    at_threshold = isinstance(wanted, OneVsRest) and wanted.needs_threshold
    if not at_threshold and report.prevalence is None:
        return []
    point = wanted if at_threshold else OneVsRest("sensitivity_at_specificity", _positive(evidence))
    assert isinstance(point, OneVsRest)
    asked = _Asked(point, at_threshold, report.prevalence)
    made = [
        _of_training(evidence, one, one.predictions, asked) for one in evidence.trained if one.predictions is not None
    ]
    return [one for one in made if one is not None]


def write_decisions(evidence: Evidence, found: list[document.OperatingPoint]) -> None:
    """Keep each threshold beside the best.pt that it is of, for `resomap predict`; take out those of other settings."""
    by_uid = {one.uid: one for one in found if one.threshold is not None and one.at is not None}
    for one in evidence.trained:
        weights = one.cell.checkpoints / "best.pt"
        if not weights.exists() or held_fingerprint(one.cell) != one.marker.fingerprint:
            continue
        _keep(weights, one, by_uid.get(one.marker.uid))


def _keep(weights: Path, one: Trained, found: document.OperatingPoint | None) -> None:
    point = None
    if found is not None and found.threshold is not None and found.at is not None and found.metric is not None:
        point = decision.OperatingPoint(found.metric, found.at, found.positive, found.threshold)
    decision.keep_operating_point(weights, one.marker.fingerprint, one.marker.uid, point)


def _positive(evidence: Evidence) -> int:
    return positive_index(evidence.study.config.report, _classes(evidence))


def _classes(evidence: Evidence) -> Sequence[str]:
    classes = next((one.predictions.classes for one in evidence.trained if one.predictions is not None), None)
    return classes or evidence.study.data.classes


@dataclass(frozen=True)
class _Asked:
    """Class and metric; whether decisions are made at a threshold; the prevalence that figures are wanted for."""

    point: OneVsRest
    at_threshold: bool
    prevalence: float | None


def _of_training(
    evidence: Evidence, one: Trained, predictions: Predictions, asked: _Asked
) -> document.OperatingPoint | None:
    validation, test = (evidence.sample(predictions.splits[split], split) for split in EVALUATED)
    point, at_threshold = asked.point, asked.at_threshold
    carried = carry(validation, test, point) if at_threshold else None
    likeliest = test.log_probabilities.argmax(axis=1) == point.positive
    decided = decisions(likeliest, Scores.of(test, point.positive))
    if decided is None or (at_threshold and carried is None):
        return None
    sensitivity, specificity = (carried.sensitivity, carried.specificity) if carried else decided
    figures = None if asked.prevalence is None else at_prevalence(sensitivity, specificity, asked.prevalence)
    return document.OperatingPoint(
        model=one.cell.model,
        resolution=one.cell.resolution,
        seed=one.cell.seed,
        fold=one.cell.fold,
        uid=one.marker.uid,
        metric=point.metric if at_threshold else None,
        positive=predictions.classes[point.positive],
        at=point.at if at_threshold else None,
        holds=HELD[point.metric] if at_threshold else None,  # type: ignore[index]
        threshold=carried.threshold if carried else None,
        validation=_value(point, validation) if at_threshold else None,
        test=_range(carried.value) if carried else None,
        held=_range(carried.held) if carried else None,
        sensitivity=_range(sensitivity),
        specificity=_range(specificity),
        prevalence=asked.prevalence,
        accuracy=_range(figures.accuracy) if figures else None,
        ppv=_range(figures.ppv) if figures else None,
        npv=_range(figures.npv) if figures else None,
    )


def _value(wanted: Question, sample: Sample) -> float | None:
    judged = quality(wanted, sample)
    return judged.value if judged else None


def _range(one: Share | Figure) -> document.Range:
    return document.Range(value=one.value, low=one.low, high=one.high)
