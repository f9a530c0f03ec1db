"""Plan of the cells: which are done, here or in the tracker, or trained elsewhere; found out once per call.

A marker counts when its fingerprint is the wanted one, whatever modification times and Snakemake's metadata say.
All of this happens in the main process, before Snakemake looks at the files.
"""

import sys
from collections.abc import Iterable, Mapping

from resomap.cells import archive
from resomap.cells.cell import Cell
from resomap.cells.leftovers import recover_finished
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker
from resomap.cells.settings_change import SettingsChange
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.models.weights_reach import require_reachable
from resomap.models.weights_store import weights_directory
from resomap.planning.disk import forecast_disk, require_disk
from resomap.planning.snakemake_api import SnakemakeApi
from resomap.tracking.elsewhere import Elsewhere, note_path
from resomap.tracking.lookup import TrackerLookup


class CellsPlan:
    """Cells of one study that are asked for, and the state of each: done, trained elsewhere or to be trained."""

    def __init__(self, api: SnakemakeApi, study: Study, tracker: TrackerLookup) -> None:
        self._api, self._study, self._tracker = api, study, tracker
        self.settled: set[Cell] = set()  # the grid, and what was asked for beside it
        self._done: set[Cell] = set()
        self._elsewhere: dict[Cell, Elsewhere] = {}
        self._asked: dict[Cell, None] = {}  # in the order in which they were asked for
        self._considered: set[Cell] = set()  # all that has been asked for
        self._warned: set[Cell] = set()
        self._change = SettingsChange(study)

    def is_done(self, cell: Cell) -> bool:
        """Return True if a settled cell has a marker that counts."""
        return cell in self._done

    def is_complete_in_tracker(self, cell: Cell) -> bool:
        """Return True if the tracker has this cell as complete, which is said."""
        return bool(self._tracker.complete({cell: self._study.fingerprint(cell)}))

    def complete_in_tracker(self, model: str) -> list[Marker]:
        """Return the markers of a model's complete runs, as far as the tracker was asked."""
        return self._tracker.complete_of(model)

    def elsewhere(self, cell: Cell) -> Elsewhere | None:
        """Return where else a settled cell is trained right now; None where nowhere."""
        return self._elsewhere.get(cell)

    def without_elsewhere(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells without those that another place trains right now: only a target names such a cell."""
        return [cell for cell in cells if cell not in self._elsewhere]

    def settle(self, asked: Iterable[Cell]) -> None:
        """Check these cells, and with the first of them the whole grid: one question to the tracker serves all.

        Raises ResomapError where a tracker that is required does not answer, or where the disk has no room.
        """
        asked = list(asked)
        if self.settled and self._considered.issuperset(asked):
            return  # a rule asks for its cell several times
        cells = asked if self.settled else [*self._study.cells(), *asked]
        new = [cell for cell in dict.fromkeys(cells) if cell not in self.settled]
        self.settled.update(new)
        # A kill between a marker and its job's end leaves a flag, for which a finished cell would be trained again.
        may_be_flagged = self._api.may_be_flagged()
        for cell in new:
            self._settle_one(cell, may_be_flagged)
        if self._study.config.skip_completed:
            self._write_tracker_markers(self._wanted(new))
            self._note_elsewhere(self._wanted(new))
            if self._api.is_dry_run:
                self._tracker.explain(cell for cell in self.without_elsewhere(asked) if cell not in self._done)
        self._require_means(asked)
        self._considered.update(asked)

    def warn_if_elsewhere(self, cell: Cell) -> None:
        """Warn once of a job for a cell that is trained elsewhere: aggregates leave it out, so somebody named it."""
        if cell in self._elsewhere and cell not in self._warned:
            self._warned.add(cell)
            print(f"{cell.name} is a target, so it begins here too; the older run counts", file=sys.stderr)

    def _wanted(self, cells: Iterable[Cell]) -> dict[Cell, str]:
        return {cell: self._study.fingerprint(cell) for cell in cells if cell not in self._done}

    def _settle_one(self, cell: Cell, may_be_flagged: bool) -> None:
        fingerprint, content = self._study.fingerprint(cell), self._study.content_digest
        marker = Marker.read(cell.marker)
        if marker and self._tracker.is_refused(marker):
            self._api.make_again(cell.marker)
            print(f"{cell.name}: its marker came from a run that saw other images, so it trains anew", file=sys.stderr)
        elif marker and marker.counts_for(cell, fingerprint, content):
            self._done.add(cell)
            if may_be_flagged:
                self._api.accept(cell.marker)
        elif archive.is_recoverable(cell, fingerprint, content) and self._recover(cell):
            self._done.add(cell)
            self._api.accept(cell.marker)
            print(f"{cell.name}: complete in {cell.checkpoints}, its marker is back", file=sys.stderr)
        elif cell.marker.exists():
            self._api.make_again(cell.marker)
            if not self._api.is_dry_run:  # which says it in its map
                others = "images" if self._is_of_other_images(marker, cell) else "settings"
                why = f" ({self._change.words(cell, marker.fingerprint)})" if marker and others == "settings" else ""
                print(f"{cell.name}: the marker is of other {others}, so it trains anew{why}", file=sys.stderr)
                self._set_results_aside(cell)

    def _recover(self, cell: Cell) -> bool:
        """Recover the marker from the checkpoints; return True if it is back.

        It is not where a training is at work in the cell, which will find the files itself.
        """
        try:
            with cell_lock(cell, wait=False):
                return recover_finished(self._study, cell)
        except ResomapError:
            return False

    def _set_results_aside(self, cell: Cell) -> None:
        """Keep the marker and files of other settings, which Snakemake or a new training would overwrite."""
        marker = Marker.read(cell.marker)
        if marker is not None:
            are_others = self._is_of_other_images(marker, cell)
            name = archive.name_of(marker.fingerprint, marker.content_digest if are_others else None)
            place, _ = archive.set_aside_results(cell, name)
            others = "images" if are_others else "settings"
            print(f"{cell.name}: results of other {others} are set aside in {place}", file=sys.stderr)

    def _is_of_other_images(self, marker: Marker | None, cell: Cell) -> bool:
        """Return True if a marker is of the wanted settings, but saw other contents."""
        return bool(
            marker
            and marker.fingerprint == self._study.fingerprint(cell)
            and marker.is_of_other_images(self._study.content_digest)
        )

    def _write_tracker_markers(self, wanted: Mapping[Cell, str]) -> None:
        """Write the markers of cells that the tracker knows as complete, so that they are not trained again here."""
        for cell, marker in self._tracker.complete(wanted).items():
            self._set_results_aside(cell)
            marker.write(cell.marker)
            self._done.add(cell)
            self._api.accept(cell.marker)

    def _note_elsewhere(self, wanted: Mapping[Cell, str]) -> None:
        """Note the cells that are trained elsewhere, also on disk for the status table."""
        found = self._tracker.elsewhere(wanted)
        self._elsewhere |= found
        for cell, other in found.items() if not self._api.is_dry_run else ():
            other.write(note_path(cell))

    def _require_means(self, asked: Iterable[Cell]) -> None:
        """Print what the grid is going to write; raise ResomapError where room or starting weights are missing."""
        new = [cell for cell in asked if cell not in self._done and cell not in self._asked]
        if not new:
            return
        self._asked |= dict.fromkeys(new)
        at_once = self._api.trainings if self._api.is_local else self._api.jobs or len(self._asked)
        if self._api.is_dry_run:
            return  # its map tells the disk
        if self._api.is_local:  # a cluster's nodes may reach what this machine does not, or have it
            self._require_weights(new)
        forecast = forecast_disk(self._study, list(self._asked), at_once)
        if len(new) > 1:
            print(f"{len(self._asked)} trainings to go: {forecast}", file=sys.stderr)
        require_disk(forecast)

    def _require_weights(self, cells: Iterable[Cell]) -> None:
        """Raise ResomapError where a training is to begin from the library's weights, and these are out of reach."""
        fresh = (cell for cell in cells if not (cell.checkpoints / "last.pt").exists())
        models = [cell.model for cell in fresh if self._study.recipe(cell).weights == "default"]
        if models:
            require_reachable(models, weights_directory(self._study.config.weights_directory))
