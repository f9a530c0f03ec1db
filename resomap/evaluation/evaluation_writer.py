"""Step `evaluate`: one cell's best weights at every test resolution, each computed once.

One job per cell and not per pair: a process takes seconds to start, and a grid has hundreds of pairs. A pair is kept
as soon as it is computed, so that a kill costs the pair under way and another resolution in the configuration costs
one pair per cell (Touvron et al. 2019, FixRes, on why the test resolution is varied at all).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.decision import Decision
from resomap.cells.leftovers import remove_cell_leftovers
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker, require_done
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.compute.metrics import confusion, measure, per_class
from resomap.compute.temperature import decide
from resomap.core.files import write_json
from resomap.core.gc_control import paused_collection
from resomap.data import DATA_DIRECTORY
from resomap.evaluation.calibration_figures import calibration_figures
from resomap.evaluation.uncertainty import image_intervals
from resomap.machine.gpu_lock import bind_gpu

if TYPE_CHECKING:
    from resomap.evaluation.evaluator import Evaluator


def evaluate_cell(study: Study, cell: Cell, threads: int, say: Callable[[str], None]) -> None:
    """Write the cell's evaluation record, for every resolution of the configuration and those kept before.

    Raises ResomapError: the cell is not done, its weights are damaged or do not fit the installed libraries, the
    prepared images are missing or not those of the training.
    """
    with cell_lock(cell, say):
        remove_cell_leftovers(cell)
        _Evaluation(study, cell, require_done(study, cell), threads, say).run()


class _Evaluation:
    """Evaluation of one cell. The network is built when the first missing predictions are computed, if at all."""

    def __init__(self, study: Study, cell: Cell, marker: Marker, threads: int, say: Callable[[str], None]) -> None:
        self._study, self._cell, self._marker, self._threads, self._say = study, cell, marker, threads, say
        self._evaluator: Evaluator | None = None

    def run(self) -> None:
        """Collect kept predictions, compute missing ones, write the record."""
        entries: dict[str, Any] = {}
        unavailable: dict[str, str] = {}
        classes: list[str] | None = None
        for resolution in self._resolutions():
            found = self._kept(resolution) or self._computed(resolution)
            if isinstance(found, str):
                entries[str(resolution)], unavailable[str(resolution)] = None, found
                continue
            classes = found.classes
            calibrations = calibration_figures(found.splits)
            entries[str(resolution)] = {
                split: {**_figures(part, classes), "calibration": calibrations[split]}
                for split, part in found.splits.items()
            }
            if resolution == self._cell.resolution:
                self._keep_decision(found)
        content = {
            "schema": evaluation_record.SCHEMA,
            "model": self._cell.model,
            "resolution": self._cell.resolution,
            "seed": self._cell.seed,
            "fingerprint": self._marker.fingerprint,
            "uid": self._marker.uid,
            "epoch": self._marker.best_epoch,
            "device": self._evaluator.device.name if self._evaluator else None,
            "classes": classes,
            "test_resolutions": entries,
            "unavailable": unavailable,
        }
        write_json(evaluation_record.record_path(self._cell), content)

    def _keep_decision(self, own: Predictions) -> None:
        """Write how answers are read beside weights that came without: from a tracker, or of an earlier version."""
        for weights in evaluation_record.weights_paths(self._cell, self._marker.fingerprint):
            if weights.exists() and Decision.beside(weights, own.fingerprint, own.uid) is None:
                decide(own).write(weights)

    def _resolutions(self) -> list[int]:
        wanted = {self._cell.resolution, *self._study.config.resolutions}
        # What a sub-grid does not name stays in the record: the next whole grid need not ask for it again.
        others = evaluation_record.other_test_resolutions(self._cell)
        return sorted(wanted | {other for other in others if self._kept(other)})

    def _kept(self, resolution: int) -> Predictions | None:
        """Predictions that an earlier call of the step, or the training, kept of the same training; else None."""
        found = Predictions.load(evaluation_record.predictions_path(self._cell, resolution))
        return found if found is not None and self._marker.is_of(found.fingerprint, found.uid) else None

    def _computed(self, resolution: int) -> Predictions | str:
        """Compute predictions and keep them; a sentence with the reason where that cannot be."""
        if self._evaluator is None:
            self._evaluator = self._start()
        if self._evaluator is None:
            return "the best weights are not here, and the predictions at this resolution were not kept"
        reason = self._evaluator.why_not(resolution)
        if reason is not None:
            return reason
        self._say(f"{self._cell.name}: evaluating at {resolution} px")
        found = self._evaluator.predictions(resolution)
        found.save(evaluation_record.predictions_path(self._cell, resolution))
        return found

    def _start(self) -> "Evaluator | None":
        if self._study.config.device != "cpu":
            bind_gpu(self._say)
        # Imported here: where everything is kept, the step needs neither a GPU nor torch.
        with paused_collection():
            from resomap.evaluation.evaluator import Evaluator

        return Evaluator.open(self._study, self._cell, self._marker, self._threads, DATA_DIRECTORY)


def _figures(part: SplitPredictions, classes: list[str]) -> dict[str, Any]:
    metrics = measure(part.log_probabilities, part.labels)
    return {
        "metrics": metrics,
        "intervals": image_intervals(part.log_probabilities, part.labels, metrics, part.groups),
        "per_class": per_class(part.log_probabilities, part.labels, classes),
        "confusion": confusion(part.log_probabilities, part.labels),
    }
