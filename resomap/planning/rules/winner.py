"""Rule `winner`: whether there is a winner already, what one still needs, and what a person is told of it."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from resomap.cells import archive, fetch_record, microbatch_choice
from resomap.cells.cell import Cell
from resomap.cells.leftovers import tidy_finished
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker
from resomap.cells.winner_cell import REFIT, SUFFIX, Begun, Winner, begun
from resomap.core.errors import ResomapError
from resomap.estimates.memory_request import memory_mb
from resomap.planning.cluster import Cluster
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.image_files import MANIFEST
from resomap.planning.rules.fetch import FetchRule
from resomap.planning.rules.learning_rate import LearningRateRule
from resomap.planning.snakemake_api import asked_often
from resomap.summary.basis import SUMMARY
from resomap.winner.recommended import markers_of, median_epoch, other_recommendation, recommended


class WinnerRule:
    """Answers to the rule of the winner. Its cell is resolved by the step: the map may be made by the same call."""

    def __init__(self, grid: Grid, fetch: FetchRule, cluster: Cluster, rates: LearningRateRule) -> None:
        self._grid, self._study, self._fetch, self._cluster = grid, grid.study, fetch, cluster
        self._rates = rates
        self._named = self._study.config.winner.cell
        self._is_told = False

    @asked_often
    def inputs(self, _wildcards: Any) -> list[str]:
        """Return what the step needs: nothing once it is done, whatever map there is now; the images once begun.

        Else the map, or the trainings of the cell that the configuration names.
        """
        if not self._grid.api.is_planning:
            return []
        with one_sentence():
            self._grid.set_up()
            found = begun(self._study, self._named)
            is_done = found is not None and _is_done(found)
            if not self._is_told:
                self._is_told = True
                self._prepare(found, is_done)
            if is_done and not self._grid.api.is_forced:
                return []
            if found is not None:
                return [str(MANIFEST), *self._found_before(found.cell)] if found.choice.kind == REFIT else []
            return [str(SUMMARY)] if self._named is None else self._of_named(self._named)

    @property
    def words(self) -> str:
        """Words of the step's command."""
        return f"winner --threads {{threads}} --attempt {{resources.attempt}} --device {self._grid.device_kind}"

    @property
    def threads(self) -> int:
        """CPU cores of the step, which has a device to itself."""
        return self._grid.threads_alone()

    @property
    def resources(self) -> dict[str, Any]:
        """Resources of the step: those of a training, whose cell is not known yet."""
        return {
            **self._cluster.winner,
            "gpu": self._grid.slots.each,
            "mem_mb": self._memory_mb,
            "runtime": self._grid.config.slurm.max_runtime,
            "attempt": self._attempt,
        }

    @asked_often
    def _attempt(self, _wildcards: Any, attempt: int) -> int:
        return attempt

    @asked_often
    def _memory_mb(self, _wildcards: Any, attempt: int) -> int:
        """Return main memory in MB: that of the largest training that it may turn out to be."""
        with one_sentence():
            device, most = self._grid.device_kind, self._grid.api.memory_mb
            return min(most, max(memory_mb(self._study, cell, device, attempt) for cell in self._possible()))

    def _possible(self) -> Iterable[Cell]:
        if found := begun(self._study, self._named):
            return [found.cell]
        return self._study.cells() if self._named is None else [self._study.find(self._named)]

    def _of_named(self, named: str) -> list[str]:
        """Return markers and fetched files of the trainings that tell of a named cell."""
        cells = self._study.trainings_of(self._study.find(named))
        self._grid.settle(cells)
        return [str(cell.marker) for cell in cells] + [path for cell in cells for path in self._fetch.record_of(cell)]

    def _found_before(self, cell: Cell) -> list[str]:
        """Return the files of what is `auto` and found before a training."""
        is_auto = microbatch_choice.is_auto(self._study, cell)
        return [*([str(microbatch_choice.path_of(cell.model))] if is_auto else []), *self._rates.of(cell)]

    def _prepare(self, found: Begun | None, is_done: bool) -> None:
        """Tell a person what stands; see to a marker that does not count, and to leftovers of one that does."""
        held = Winner.of_any_cell().marker
        if is_done and found is not None:
            self._grid.accept(held)
            if other := other_recommendation(self._study, found.choice):
                print(other, file=sys.stderr)
            if not self._grid.api.is_dry_run:
                self._tidy(found)
        elif held.exists() and (found is None or found.marker is None):
            self._grid.make_again(held)
            print(
                "the winner here is of another cell, or of other settings or images: another is made",
                file=sys.stderr,
            )
            if not self._grid.api.is_dry_run and (marker := Marker.read(held)):
                # Before Snakemake deletes its marker: it is found again when the settings return.
                archive.set_aside_results(Winner.of_any_cell(), marker.fingerprint)
        elif held.exists():
            self._grid.make_again(held)
        if not is_done and self._grid.api.is_dry_run:
            print(self._forecast(found), file=sys.stderr)

    def _tidy(self, found: Begun) -> None:
        with contextlib.suppress(ResomapError), cell_lock(found.cell, wait=False):  # raised where somebody works in it
            assert found.marker is not None
            tidy_finished(found.cell, found.marker, self._grid.config.checkpoints.keep)

    def _forecast(self, found: Begun | None) -> str:
        """Return a sentence on what the step will do; asks the tracker where the winner is known by then."""
        if found is not None:
            self._grid.is_complete_in_tracker(found.cell)
            how = f"goes on with its {found.choice.epochs} epochs" if found.choice.epochs else "is made"
            return f"winner: {found.choice.position}, which was begun, {how}"
        name = self._named or recommended(self._study)
        if name is None:
            return "winner: its cell is chosen once the map is made"
        cell = self._study.find(name)
        markers = markers_of(self._study, cell).values()
        epochs = median_epoch(marker for marker in markers if marker is not None)
        if self._grid.config.winner.kind != REFIT:
            return f"winner: an ensemble of the trainings of {name}"
        if epochs is None or None in markers:
            return f"winner: {name}, refitted on train + validation once its trainings are done"
        self._grid.is_complete_in_tracker(
            Winner(cell.model, cell.resolution, cell.seed, cell.family, SUFFIX, epochs=epochs)
        )
        return f"winner: {name}, refitted on train + validation for {epochs} epochs"


def _is_done(found: Begun) -> bool:
    """Return True if there is a marker that counts, and its files have come where it is from the tracker."""
    marker = found.marker
    return marker is not None and (not marker.is_from_tracker or fetch_record.is_fetched(found.cell, marker))
