"""Step of an ensemble: all trainings of the chosen cell together, whose class probabilities are averaged.

Nothing is trained. It is ranked against nothing: validation images chose the epochs of its members, so that outside the
test split nothing honest is known of it (Lakshminarayanan et al. 2017 on what such ensembles bring).
"""

import hashlib
import time
from collections.abc import Sequence

import numpy as np
from scipy import special

from resomap.cells import evaluation_record, winner_record
from resomap.cells.cell import Cell
from resomap.cells.lock import cell_lock
from resomap.cells.marker import LOCAL, SCHEMA, Marker, TrainingCost, require_done
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.cells.winner_cell import JUDGED_BY, Begun
from resomap.compute.metrics import measure
from resomap.core.errors import ResomapError
from resomap.evaluation.evaluator import find_weights


def averaged(log_probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the logarithm float32 [N, classes] of the members' mean probabilities, of their log-probabilities."""
    stacked = np.stack([one.astype(np.float64) for one in log_probabilities])
    found: np.ndarray = (special.logsumexp(stacked, axis=0) - np.log(len(stacked))).astype(np.float32)
    return found


def make_ensemble(study: Study, begun: Begun) -> Marker:
    """Write the predictions and the marker of an ensemble; return the marker.

    Raises ResomapError where a member's weights or predictions are not here.
    """
    cell = begun.cell
    with cell_lock(cell):
        if begun.marker is not None:
            return begun.marker
        members = _members(study, begun)
        predictions = _predictions(study, begun, members)
        predictions.save(evaluation_record.predictions_path(cell))
        part = predictions.splits["test"]
        metrics = {
            f"test/{name}": value for name, value in measure(part.log_probabilities, np.asarray(part.labels)).items()
        }
        winner_record.record(cell, begun.choice, metrics, fingerprint=predictions.fingerprint, uid=predictions.uid)
        marker = _marker(study, begun, members, predictions.uid, metrics)
        marker.write(cell.marker)
        return marker


def _members(study: Study, begun: Begun) -> dict[Cell, Marker]:
    """Return the members with their markers. Raises ResomapError where one was trained anew, or has no weights."""
    found = {}
    for name, told in begun.choice.trainings.items():
        cell = study.find(name)
        marker = require_done(study, cell)
        if not marker.is_of(told["fingerprint"], told["uid"]):
            raise ResomapError(
                f"{name} was trained anew since the ensemble was chosen; `resomap forget winner`, and the same command "
                "chooses it again"
            )
        if find_weights(cell, marker) is None:
            raise ResomapError(
                f"{name} has no best.pt in {cell.checkpoints}, which an ensemble needs of each training; keep `best` "
                "in `checkpoints.keep`, or refit the cell (--config 'winner={kind: refit}')"
            )
        found[cell] = marker
    return found


def _predictions(study: Study, begun: Begun, members: dict[Cell, Marker]) -> Predictions:
    kept = {cell: evaluation_record.kept_predictions(cell, marker, cell.resolution) for cell, marker in members.items()}
    known = [one for one in kept.values() if one is not None]
    if len(known) < len(members):
        missing = next(cell for cell, one in kept.items() if one is None)
        raise ResomapError(
            f"the predictions of {missing.name} are not here, by which an ensemble is evaluated; `resomap forget "
            f"{missing.name}` and train it here, or refit the cell (--config 'winner={{kind: refit}}')"
        )
    first = known[0]
    parts = {
        split: SplitPredictions(
            first.splits[split].names,
            first.splits[split].labels,
            averaged([one.splits[split].log_probabilities for one in known]),
            first.splits[split].groups,
        )
        for split in JUDGED_BY
    }
    uids = "".join(sorted(marker.uid for marker in members.values()))
    uid = hashlib.sha256(uids.encode()).hexdigest()[:32]  # the same however often it is made of the same trainings
    return Predictions(study.fingerprint(begun.cell), uid, first.classes, parts)


def _marker(
    study: Study, begun: Begun, members: dict[Cell, Marker], uid: str, metrics: dict[str, float | None]
) -> Marker:
    costs = [marker.cost for marker in members.values()]
    reasons = dict.fromkeys(reason for marker in members.values() for reason in marker.exact_reasons)
    return Marker(
        schema=SCHEMA,
        model=begun.cell.model,
        resolution=begun.cell.resolution,
        seed=begun.cell.seed,
        fingerprint=study.fingerprint(begun.cell),
        base=study.base,
        uid=uid,
        run_id=None,
        origin=LOCAL,
        finished_at=time.time(),
        epochs=None,
        metrics=metrics,
        cost=TrainingCost(
            params=_sum([cost.params for cost in costs]),
            flops=_sum([cost.flops for cost in costs]),
            train_seconds=0.0,
        ),
        exact=all(marker.exact for marker in members.values()),
        exact_reasons=tuple(reasons),
        content_digest=begun.choice.content_digest,
        winner=begun.choice.for_marker(),
    )


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
