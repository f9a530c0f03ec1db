"""Rule `fetch`: the cells that have files to fetch from the tracker."""

from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.fetch_record import is_fetched, record_path
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.planning.grid import Grid
from resomap.planning.snakemake_api import asked_often
from resomap.tracking.rest import is_remote


def is_fetchable(study: Study, cell: Cell, marker: Marker) -> bool:
    """Return True if a marker is of a run in a remote tracker that the configuration lets us ask."""
    return _may_ask(study) and marker.is_from_tracker and marker.counts_for(cell, study.fingerprint(cell))


def _may_ask(study: Study) -> bool:
    return study.config.skip_completed and is_remote(study.config.tracking)


class FetchRule:
    """Answers to the rule of fetching. Cells that were trained here have no such step."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study

    def records(self, wildcards: Any = None) -> list[str]:
        """Return the fetch records of the grid's cells, or of one model's, that are known only from the tracker."""
        if not _may_ask(self._study):
            return []
        model = getattr(wildcards, "model", None)
        self._grid.cells_here(model)  # finds out which those are
        return [path for cell in self._study.cells() if model in (None, cell.model) for path in self.record_of(cell)]

    @property
    def record(self) -> Any:
        """Input of an evaluate job: a function for its cell's fetch record, or none where nothing can be fetched."""
        return self._record_of if _may_ask(self._study) else []

    @asked_often
    def _record_of(self, wildcards: Any) -> list[str]:
        return self.record_of(self._grid.cell(wildcards))

    @asked_often
    def run(self, wildcards: Any) -> str:
        """Return the only param of a fetch job: the id of the run that the cell's marker names."""
        marker = Marker.read(self._grid.cell(wildcards).marker)
        return str(marker.run_id) if marker else ""

    def record_of(self, cell: Cell) -> list[str]:
        """Return the fetch record of a settled cell; none of one that was trained here."""
        if not _may_ask(self._study):
            return []
        marker = Marker.read(cell.marker)
        if marker is None or not is_fetchable(self._study, cell, marker):
            return []
        if not is_fetched(cell, marker):
            self._grid.make_again(record_path(cell))
        return [str(record_path(cell))]
