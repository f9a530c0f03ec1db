"""Compose the document of the map from the evidence and its judgement."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from resomap.cells.margin import within_margin
from resomap.cells.predictions import EVALUATED
from resomap.core.text import all_encodable
from resomap.statistics import Interval, Position, Recommendation, Resolutions
from resomap.statistics.wording import COST_UNITS
from resomap.summary import calibrated, document
from resomap.summary.advice import advise, as_answer, as_bound, as_choice, as_place, notes
from resomap.summary.against_chance import against_chance, chance_notes
from resomap.summary.basis import SCHEMA, basis
from resomap.summary.device_comparison import compare_devices
from resomap.summary.evidence import Evidence, Trained
from resomap.summary.judgement import Judgement
from resomap.summary.operating import further_values, operating_notes, operating_points

_Further: TypeAlias = Mapping[str, Mapping[int, Mapping[str, float | None]]]
"""The report's metric by uid, test resolution and split, where markers and evaluations lack it."""


def compose(evidence: Evidence) -> document.Map:
    """Return the document of the map, as far as the evidence goes; its gaps are listed in `missing`."""
    judgement, study = Judgement(evidence), evidence.study
    config = study.config
    recommendation = judgement.recommendation
    answer = judgement.answer
    told = as_answer(answer, judgement.posterior.breaking) if answer and judgement.posterior else None
    chance = against_chance(evidence, config.report.metric, judgement.intervals("val").get(config.report.metric, {}))
    leader = answer.choice.cell if answer else None
    known = chance if chance and leader in chance.intervals else None
    # More seeds of what has learnt nothing would only cost time.
    ahead = () if chance and leader in chance.not_beaten else judgement.prospects
    advice = (
        advise(
            recommendation,
            answer,
            ahead,
            judgement.corrected,
            evidence.seconds_per_seed,
            known.score(leader) if known and leader else "",
        )
        if recommendation
        else None
    )
    gap = judgement.validation_gap
    further = further_values(evidence)
    compared = compare_devices(judgement)
    return document.Map(
        schema=SCHEMA,
        basis=basis(study),
        is_complete=not any(gap.can_come for gap in evidence.missing),
        experiment=config.experiment,
        base=study.base,
        metric=config.report.metric,
        margin=config.report.margin,
        confidence=config.report.confidence,
        budget=config.budget.given(),
        models=config.models,
        resolutions=config.resolutions,
        seeds=config.seeds,
        folds=config.data.folds,
        images=_images(evidence),
        validation_gap=gap and document.ValidationGap(value=gap.value, low=gap.low, high=gap.high, cells=gap.cells),
        answer=told,
        ladder=[as_choice(one) for one in answer.ladder] if answer else [],
        recommendation=advice,
        chance=chance.level if chance else None,
        notes=[
            *chance_notes(evidence, chance, leader),
            *notes(evidence, advice, told, judgement.unsteady),
            *compared.notes,
            *operating_notes(evidence),
        ],
        squares=_squares(evidence, judgement, recommendation),
        trainings=_trainings(evidence, further),
        model_resolutions=[_model_resolutions(one) for one in judgement.resolutions.values()],
        fronts=[
            document.Front(
                cost=name,
                unit=COST_UNITS[name],
                device=judgement.device,
                runtime=judgement.runtime or None,
                places=[*map(as_place, front)],
                possible=[*map(as_place, judgement.possible_front(name))],
            )
            for name, front in judgement.fronts().items()
        ],
        operating_points=operating_points(evidence),
        matrix=_matrix(evidence, further),
        missing=[
            document.Gap(
                model=gap.model,
                resolution=gap.resolution,
                seed=gap.seed,
                fold=gap.fold,
                what=gap.what,
                reason=gap.reason,
            )
            for gap in evidence.missing
        ],
        devices=list(compared.devices),
        device_pairs=list(compared.pairs),
    )


def _images(evidence: Evidence) -> document.Images:
    study, manifest = evidence.study, evidence.manifest
    digests = {one.marker.content_digest for one in evidence.trained}
    return document.Images(
        source=study.config.data.source,
        identity=study.data_identity,
        content_digest=manifest.content_digest if manifest else next(iter(digests)) if len(digests) == 1 else None,
        classes=all_encodable(manifest.classes) if manifest else None,
        counts=all_encodable(manifest.counts) if manifest else None,
        native_size=manifest.native_size if manifest else None,
    )


def _squares(evidence: Evidence, judgement: Judgement, recommendation: Recommendation | None) -> list[document.Square]:
    found = {split: judgement.intervals(split) for split in EVALUATED}
    deficits = recommendation.deficits if recommendation else {}
    upsampled = {size: evidence.upsampled(size) for size in evidence.study.config.resolutions}
    best_tested = judgement.best_tested
    squares = []
    for position in evidence.positions:
        deficit = deficits.get(position)
        measured = evidence.costs.get(position)
        squares.append(
            document.Square(
                model=position[0],
                resolution=position[1],
                seeds=list(dict.fromkeys(one.cell.seed for one in evidence.of(position))),
                upsampled=upsampled[position[1]],
                validation=_qualities(evidence, position, "val", found["val"]),
                test=_qualities(evidence, position, "test", found["test"]),
                best_test_resolution=best_tested.get(position),
                deficit=as_bound(deficit) if deficit else None,
                cost=_measured(measured, position in judgement.comparable) if measured else None,
                calibration=calibrated.of_folds(evidence, position),
            )
        )
    return squares


def _qualities(
    evidence: Evidence, position: Position, split: str, found: dict[str, dict[Position, Interval]]
) -> dict[str, document.Estimate | None]:
    """Return an estimate of each metric of the markers, with its interval where the statistics have one."""
    trained = evidence.of(position)
    names = dict.fromkeys(name for one in trained for name in one.marker.metrics if name.startswith(f"{split}/"))
    judged = evidence.study.config.report.metric
    if position in found.get(judged, {}):  # markers have no metric that needs the map's settings
        names[f"{split}/{judged}"] = None
    qualities: dict[str, document.Estimate | None] = {}
    # With folds the trainings of a seed together are one estimate on validation.
    is_pooled = split == "val" and evidence.study.config.data.folds is not None
    wanted = len({one.cell.seed for one in trained}) if is_pooled else len(trained)
    for name in names:
        metric = name.removeprefix(f"{split}/")
        interval = found.get(metric, {}).get(position)
        values = [calibrated.metrics(one).get(name) for one in trained]
        if interval is not None and interval.seeds == wanted:
            qualities[metric] = document.Estimate(
                value=interval.value,
                low=interval.low,
                high=interval.high,
                deviation=interval.deviation,
                seeds=interval.seeds,
                includes_training_noise=interval.includes_training_noise,
                images=interval.images,
                groups=interval.groups,
            )
        else:
            interval_of_one = _image_intervals(trained[0]).get(name) if len(trained) == 1 else None
            qualities[metric] = _mean_and_spread(values, interval_of_one)
    return qualities


def _mean_and_spread(values: list[float | None], interval: tuple[float, float] | None) -> document.Estimate | None:
    """Return mean and sample standard deviation of the seeds' values; None where one of them is undefined."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    low, high = interval or (None, None)
    return document.Estimate(
        value=float(np.mean(known)),
        low=low,
        high=high,
        deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        seeds=len(known),
        includes_training_noise=False,
    )


def _measured(content: Any, is_comparable: bool) -> document.Measured:
    names = set(document.Measured.model_fields) - {"is_comparable"}
    return document.Measured(**{name: content.get(name) for name in names}, is_comparable=is_comparable)


def _trainings(evidence: Evidence, further: _Further) -> list[document.Training]:
    config = evidence.study.config
    metrics = []
    for one in evidence.trained:
        own = further.get(one.marker.uid, {}).get(one.cell.resolution, {})
        named = {f"{split}/{config.report.metric}": value for split, value in own.items()}
        metrics.append({**calibrated.metrics(one), **named})
    values = [each.get(f"val/{config.report.metric}") for each in metrics]
    near = within_margin(values, config.report.margin, [one.cell.fold for one in evidence.trained])
    return [_training(*each) for each in zip(evidence.trained, metrics, near, strict=True)]


def _training(one: Trained, metrics: dict[str, float | None], within: bool) -> document.Training:
    marker, cost = one.marker, one.marker.cost
    return document.Training(
        model=one.cell.model,
        resolution=one.cell.resolution,
        seed=one.cell.seed,
        fold=one.cell.fold,
        origin=marker.origin,
        exact=marker.exact,
        exact_reasons=list(marker.exact_reasons),
        within_margin=within,
        fingerprint=marker.fingerprint,
        uid=marker.uid,
        run_id=marker.run_id,
        finished_at=marker.finished_at,
        epochs=marker.epochs,
        best_epoch=marker.best_epoch,
        metrics=metrics,
        intervals=_image_intervals(one),
        calibration=calibrated.calibrations(one),
        train_seconds=cost.train_seconds,
        images_per_second=cost.images_per_second,
        peak_training_memory_bytes=cost.peak_training_memory_bytes,
        device=cost.device,
    )


def _image_intervals(one: Trained) -> dict[str, tuple[float, float] | None]:
    """Return the 95 % intervals of one training alone, by metric, from its evaluation at its own resolution."""
    entries = (one.evaluation or {"test_resolutions": {}})["test_resolutions"]
    entry = entries.get(str(one.cell.resolution)) or {}
    return {
        f"{split}/{metric}": tuple(interval) if interval else None
        for split in EVALUATED
        for metric, interval in entry.get(split, {}).get("intervals", {}).items()
    }


def _model_resolutions(one: Resolutions) -> document.ModelResolutions:
    return document.ModelResolutions(
        model=one.model,
        best=one.best,
        alike=list(one.alike),
        claims=[document.Claim(better=better, worse=worse) for better, worse in one.claims],
        comparisons=[
            document.Pair(
                first=pair.first[1],
                second=pair.second[1],
                difference=pair.difference,
                low=pair.low,
                high=pair.high,
                p=pair.p,
            )
            for pair in one.comparisons
        ],
        includes_training_noise=one.includes_training_noise,
    )


def _matrix(evidence: Evidence, further: _Further) -> list[document.Tested]:
    """Return all pairs of training and test resolution that a seed was evaluated at, in the grid's order."""
    metric = evidence.study.config.report.metric
    values: dict[Position, dict[int, list[Mapping[str, float | None]]]] = defaultdict(lambda: defaultdict(list))
    for one in evidence.trained:
        for size, entry in (one.evaluation or {"test_resolutions": {}})["test_resolutions"].items():
            if entry is not None:
                known = {split: entry[split]["metrics"].get(metric) for split in EVALUATED}
                values[one.position][int(size)].append(further.get(one.marker.uid, {}).get(int(size), known))
    return [
        document.Tested(
            model=position[0],
            trained_at=position[1],
            tested_at=size,
            seeds=len(found),
            validation=_mean([one["val"] for one in found]),
            test=_mean([one["test"] for one in found]),
        )
        for position in evidence.positions
        for size, found in sorted(values[position].items())
    ]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
