"""Refit of a cell on train + validation images: the training of a winner.

It is the training of a cell but for this: no image is left to choose an epoch by, so that it ends at the epoch that the
choice names, under the learning rates of the whole schedule; its last weights are its best ones; only test images
evaluate them; how their answers are read was chosen on other trainings of the cell.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resomap.cells import archive, winner_record
from resomap.cells.decision import Decision
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.cells.winner_cell import JUDGED_BY
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.data.store import Images, Store
from resomap.models.build import BuiltModel
from resomap.train import outcome
from resomap.train.loop import TrainingData
from resomap.train.observer import CellObserver
from resomap.train.refit_request import RefitRequest
from resomap.train.request import Request
from resomap.train.signals import SignalWatch
from resomap.train.state import TrainingState
from resomap.train.training import CellTraining, run_training


def run_refit(request: Request, signals: SignalWatch) -> None:
    """Refit, or go on with it, until the winner's done marker is written. The caller holds its lock.

    Raises what `run_training` raises.
    """
    run_training(request, signals, _Refit)


class _Refit(CellTraining):
    splits = JUDGED_BY

    def __init__(self, request: Request, signals: SignalWatch) -> None:
        super().__init__(request, signals)
        assert isinstance(request, RefitRequest)
        self._choice, self._winner = request.choice, request.winner

    def _training_data(self, built: BuiltModel) -> TrainingData:
        return replace(super()._training_data(built), validation=None)

    def _learned_from(self, store: Store) -> Images:
        return store.outside_test()

    def _initial_state(self, built: BuiltModel, execution: Execution) -> TrainingState:
        state = super()._initial_state(built, execution)
        state.last_epoch = self._choice.epochs
        return state

    def _write_weights(self, state: TrainingState, normalisation: Normalisation, amp: str) -> None:
        state.best.epoch = state.epoch
        state.keep_best({})
        outcome.write_weights(
            self._request, "best.pt", state.best_weights, state.epoch, self._store, normalisation, amp
        )

    def _decision(self, predictions: Predictions) -> Decision:
        return self._choice.decision(predictions.fingerprint, predictions.uid)

    def _evaluate_best(
        self, state: TrainingState, normalisation: Normalisation, execution: Execution, observer: CellObserver
    ) -> outcome.Metrics:
        metrics = super()._evaluate_best(state, normalisation, execution, observer)
        # Before anybody can read them, so that a kill leaves no look at the test images unrecorded.
        fingerprint, uid = self._request.fingerprint, archive.held_uid(self._cell)
        winner_record.record(self._winner, self._choice, metrics, fingerprint=fingerprint, uid=uid)
        return metrics

    def _marker(self, state: TrainingState, fixed: Mapping[str, Any], metrics: outcome.Metrics) -> Marker:
        return replace(super()._marker(state, fixed, metrics), winner=self._choice.for_marker())
