"""Step `evaluate`: one cell's best weights at every test resolution, each computed once.

One job per cell and not per pair: a process takes seconds to start, and a grid has hundreds of pairs. A pair is kept
as soon as it is computed, so that a kill costs the pair under way and another resolution in the configuration costs
one pair per cell (Touvron et al. 2019, FixRes, on why the test resolution is varied at all).

Most cells are evaluated in the process that trained them (`leave_trained_part`), the others together in the first
job that has to compute (`leave_other_parts`); their jobs take that over (`resomap.cells.evaluation_part`).
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from resomap.cells import evaluation_part, evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.decision import Decision
from resomap.cells.leftovers import remove_cell_leftovers
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker, require_done
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.compute.metrics import confusion, measure, per_class
from resomap.compute.temperature import decide
from resomap.core.errors import Interrupted, ResomapError
from resomap.core.gc_control import paused_collection
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
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
        marker = require_done(study, cell)
        evaluation = _Evaluation(study, cell, marker, threads, say)
        content = evaluation.record(evaluation_record.resolutions(study, cell, marker))
        evaluation_record.write_record(cell, content)
        evaluation_part.part_path(cell).unlink(missing_ok=True)


def leave_trained_part(
    study: Study, cell: Cell, threads: int, say: Callable[[str], None], between: Callable[[], None]
) -> None:
    """Evaluate the cell that this process has just trained where its images are prepared, and leave that as a part.

    It pays no import and no start. Another resolution's images may still be missing: the rule computes the rest. The
    caller holds the cell's lock. `between` runs after each batch and may end the evaluation by raising Interrupted. A
    failure is said and raises nothing: the training is done, and the rule will meet the same.
    """
    gc.collect()  # the training's tensors, before the network is built once more
    with _what_fails_is_said(cell, say):
        _leave_part(study, cell, threads, say, between, must_be_whole=False)


def leave_other_parts(study: Study, cells: Iterable[Cell], threads: int, say: Callable[[str], None]) -> None:
    """Evaluate other cells that are ready, and leave a part of each for its own job.

    Ready is a done cell whose weights and images are here and at which no other process works. A failure is said, and
    met again by the cell's own job.
    """
    for cell in cells:
        with _what_fails_is_said(cell, say), cell_lock(cell, say, wait=False):
            _leave_part(study, cell, threads, say, lambda: None, must_be_whole=True)


@contextmanager
def _what_fails_is_said(cell: Cell, say: Callable[[str], None]) -> Iterator[None]:
    """Say why a part is not left: nothing depends on it, and the cell's own job computes the same."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        say(f"{cell.name} is not evaluated yet: {str(error) or type(error).__name__}")


def _leave_part(
    study: Study,
    cell: Cell,
    threads: int,
    say: Callable[[str], None],
    between: Callable[[], None],
    must_be_whole: bool,
) -> None:
    marker = Marker.of_done(cell, study.fingerprint(cell), study.content_digest)
    if marker is None:
        return
    evaluation = _Evaluation(study, cell, marker, threads, say, between)
    wanted = evaluation_record.resolutions(study, cell, marker)
    # Weights of a training that only the tracker knows may be on their way.
    has_what_it_gets = not marker.is_from_tracker
    ready = [resolution for resolution in wanted if evaluation.is_ready(resolution, has_what_it_gets)]
    if not ready or (must_be_whole and (ready != wanted or not evaluation.is_missing(wanted))):
        return
    evaluation_part.write_part(cell, marker, evaluation.record(ready))


class _Evaluation:
    """Evaluation of one cell. The network is built when the first missing predictions are computed, if at all."""

    def __init__(
        self,
        study: Study,
        cell: Cell,
        marker: Marker,
        threads: int,
        say: Callable[[str], None],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._study, self._cell, self._marker, self._threads, self._say = study, cell, marker, threads, say
        self._between = between
        self._evaluator: Evaluator | None = None

    def record(self, resolutions: Iterable[int]) -> dict[str, Any]:
        """Collect kept predictions, compute and keep missing ones; return the content of the record."""
        entries: dict[str, Any] = {}
        unavailable: dict[str, str] = {}
        classes: list[str] | None = None
        for resolution in resolutions:
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
        return {
            "schema": evaluation_record.SCHEMA,
            "model": self._cell.model,
            "resolution": self._cell.resolution,
            "seed": self._cell.seed,
            "fold": self._cell.fold,
            "fingerprint": self._marker.fingerprint,
            "uid": self._marker.uid,
            "epoch": self._marker.best_epoch,
            "device": self._evaluator.device.name if self._evaluator else None,
            "classes": classes,
            "test_resolutions": entries,
            "unavailable": unavailable,
        }

    def is_missing(self, resolutions: Iterable[int]) -> bool:
        """Return True if neither the record nor a part has all of these resolutions."""
        if not evaluation_record.missing(self._cell, self._marker, resolutions):
            return False
        return evaluation_part.fitting_record(self._cell, self._marker, resolutions) is None

    def is_ready(self, resolution: int, has_what_it_gets: bool) -> bool:
        """Return True if predictions at a resolution are kept, or can be computed now, or never can."""
        if self._kept(resolution):
            return True
        weights = evaluation_record.weights_paths(self._cell, self._marker.fingerprint)
        if not any(path.exists() for path in weights):
            return has_what_it_gets
        try:
            store = Store.open(DATA_DIRECTORY, resolution, EVALUATED, self._marker.fold)
            return not self._marker.is_of_other_images(store.content_digest)
        except ResomapError:
            return False

    def _keep_decision(self, own: Predictions) -> None:
        """Write how answers are read beside weights that came without: from a tracker, or of an earlier version."""
        for weights in evaluation_record.weights_paths(self._cell, self._marker.fingerprint):
            if weights.exists() and Decision.beside(weights, own.fingerprint, own.uid) is None:
                decide(own).write(weights)

    def _kept(self, resolution: int) -> Predictions | None:
        """Predictions that an earlier call of the step, or the training, kept of the same training; else None."""
        return evaluation_record.kept_predictions(self._cell, self._marker, resolution)

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
        found = self._evaluator.predictions(resolution, self._between)
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
