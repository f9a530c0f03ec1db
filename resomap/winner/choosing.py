"""Choice of a winner: its cell, and the pooled predictions of all finished trainings of that cell."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from resomap.cells.decision import TRANSFERRED, OperatingPoint
from resomap.cells.evaluation_record import kept_predictions
from resomap.cells.predictions import SplitPredictions
from resomap.cells.study import Study
from resomap.cells.winner_cell import ENSEMBLE, REFIT, SCHEMA, Choice
from resomap.compute.temperature import fit_temperature
from resomap.compute.thresholds import OneVsRest, ThresholdMetric, choose_threshold, log_odds
from resomap.config.positive import positive_index
from resomap.core.errors import ResomapError
from resomap.summary.pooling import counted_folds, pooled
from resomap.summary.trained import Trained
from resomap.winner.recommended import done_trainings, median_epoch, wanted_cell


@dataclass(frozen=True)
class Pooled:
    """Finished trainings of a cell together, by their predictions of images that they were not trained on.

    epochs: median of the chosen ones; None where no training tells. log_probabilities float32 [N, classes] and labels
    int64 [N]: of each validation image by each training, so that an image counts as often as it was predicted; with
    folds of each image outside the test split, after the epoch that the other folds choose, once for each seed.
    """

    epochs: int | None
    classes: list[str]
    labels: np.ndarray
    log_probabilities: np.ndarray
    test: SplitPredictions | None


def pool(trainings: Sequence[Trained]) -> Pooled:
    """Pool the finished trainings of one cell, each with its predictions where they are here."""
    known = [one.predictions for one in trainings if one.predictions is not None]
    parts = _judged(trainings) or [found.splits["val"] for found in known]
    classes = known[0].classes if known else []
    return Pooled(
        epochs=median_epoch(one.marker for one in trainings),
        classes=classes,
        labels=np.concatenate([part.labels for part in parts]) if parts else np.zeros(0, dtype=np.int64),
        log_probabilities=np.concatenate([part.log_probabilities for part in parts])
        if parts
        else np.zeros((0, len(classes)), dtype=np.float32),
        test=known[0].splits["test"] if known else None,
    )


def choose(study: Study, named: str | None) -> Choice:
    """Return the choice of a winner: of the cell `named` (`vgg11@320`), else of the one that the map recommends.

    Raises ResomapError where no cell is recommended, none of its trainings is finished, or these do not tell what a
    winner of the wanted kind needs.
    """
    cell, kind = wanted_cell(study, named), study.config.winner.kind
    markers = done_trainings(study, cell)
    found = pool(
        [Trained(one, marker, None, kept_predictions(one, marker, one.resolution)) for one, marker in markers.items()]
    )
    if kind == REFIT and found.epochs is None:
        raise ResomapError(
            f"no training of {cell.map_position} tells at which epoch it was best (they were adopted from an older "
            "script), so that a refit does not know when to end; train one seed of it here, or name another cell "
            "(--config 'winner={cell: vgg11@320}')"
        )
    if kind == ENSEMBLE and len(markers) < 2:
        raise ResomapError(
            f"{cell.map_position} has one finished training, which makes no ensemble; train more `seeds` of it, or "
            "refit it (--config 'winner={kind: refit}')"
        )
    point = _operating_point(study, found)
    return Choice(
        schema=SCHEMA,
        kind=kind,
        model=cell.model,
        resolution=cell.resolution,
        seed=cell.seed,
        chosen_by="map" if named is None else "person",
        cell_fingerprint=study.fingerprint(cell),
        content_digest=next((one.content_digest for one in markers.values() if one.content_digest), None),
        epochs=found.epochs if kind == REFIT else None,
        trainings={
            one.name: {"fingerprint": marker.fingerprint, "uid": marker.uid, "best_epoch": marker.best_epoch}
            for one, marker in markers.items()
        },
        images=len(found.labels),
        basis=TRANSFERRED,
        temperature=fit_temperature(found.log_probabilities, found.labels),
        metric=point.metric if point else None,
        at=point.at if point else None,
        positive=point.positive if point else None,
        threshold=point.threshold if point else None,
        test_split=_digest(found.test, found.classes) if found.test else None,
    )


def _judged(trainings: Sequence[Trained]) -> list[SplitPredictions]:
    """Return the out-of-fold predictions of each seed; empty without folds."""
    folds = counted_folds(trainings)
    return [probable for _, probable in pooled(trainings, folds).values()] if folds else []


def _operating_point(study: Study, found: Pooled) -> OperatingPoint | None:
    """Return the operating point that `report` asks for, with the threshold that the pooled predictions give."""
    report = study.config.report
    if report.metric not in get_args(ThresholdMetric) or not len(found.labels):
        return None
    positive = positive_index(report, found.classes)
    wanted = OneVsRest(report.metric, positive, report.at)  # type: ignore[arg-type]
    threshold = choose_threshold(log_odds(found.log_probabilities, positive), found.labels == positive, wanted)
    if threshold is None:
        return None
    return OperatingPoint(report.metric, report.at, found.classes[positive], threshold)


def _digest(part: SplitPredictions, classes: list[str]) -> str:
    """Return 12 hex digits over names and classes of images: whoever evaluates on these again looks a second time."""
    lines = sorted(f"{name}\0{classes[label]}" for name, label in zip(part.names, part.labels.tolist(), strict=True))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()[:12]
