"""Planning's queries to the tracker, and the lines printed about the answers. A local database is never asked.

They are made once per invocation: for complete cells (`complete`); where some are not, for those that are trained
elsewhere (`elsewhere`); and in a dry run for the reasons why the rest remains (`explain`). That query, the slowest, is
answered while Snakemake plans.
"""

import atexit
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.text import counted
from resomap.tracking.completed import Completed
from resomap.tracking.elsewhere import Elsewhere, running_elsewhere
from resomap.tracking.explain import Reasons
from resomap.tracking.rest import TrackerUnavailable, is_remote, tracking_uri
from resomap.tracking.standing import standing


class TrackerLookup:
    """Queries of one study to its tracker, made by the process that plans."""

    def __init__(self, study: Study, is_dry_run: Callable[[], bool] = lambda: False) -> None:
        self._study, self._tracking, self._is_dry_run = study, study.config.tracking, is_dry_run
        self._completed = Completed(self._tracking, study.config.experiment, study.base)
        self._reasons = Reasons(study)
        self._is_unreachable = False
        self._unexplained: list[Cell] = []
        self._early_query: Future[None] | None = None

    def complete(self, wanted: Mapping[Cell, str]) -> dict[Cell, Marker]:
        """Return the markers of those cells (with their fingerprints) that are complete in the tracker.

        Raises ResomapError where the tracker is required and does not answer; else one line says so.
        """
        if not wanted:
            return {}
        self._require_standing(may_create=False)
        try:
            if not self._is_unreachable:
                self._completed.ask_once()
        except TrackerUnavailable as error:
            self._is_unreachable = True
            if self._tracking.required:
                raise self._required_error(str(error)) from None
            print(
                f"the tracker {tracking_uri(self._tracking)} is not asked: {error}; local markers count",
                file=sys.stderr,
            )
        found = self._completed.markers(wanted, self._study.content_digest)
        if found:
            names = ", ".join(cell.name for cell in found)
            are = "is" if len(found) == 1 else "are"
            print(f"{counted(len(found), 'training')} {are} complete in the tracker: {names}", file=sys.stderr)
        for cell in wanted:
            if cell in self._completed.refused:
                print(f"{cell.name} is not taken from the tracker: {self._completed.refused[cell]}", file=sys.stderr)
        return found

    def complete_of(self, model: str) -> list[Marker]:
        """Return the markers of a model's complete runs, of whatever settings of its own; none before `complete`."""
        return self._completed.of_model(model)

    def is_refused(self, marker: Marker) -> bool:
        """Return True if a marker from the tracker is of other images than those prepared here since."""
        return marker.is_from_tracker and marker.is_of_other_images(self._study.content_digest)

    def elsewhere(self, wanted: Mapping[Cell, str]) -> dict[Cell, Elsewhere]:
        """Return the cells (with their fingerprints) that another directory trains right now; one line names them."""
        if not wanted or self._is_unreachable or not is_remote(self._tracking):
            return {}
        try:
            if self._is_dry_run() and self._early_query is None:
                self._early_query = ThreadPoolExecutor(1, "resomap-ahead").submit(self._reasons.ask_once)
            found = running_elsewhere(self._tracking, self._study.config.experiment, self._study.base, wanted)
        except TrackerUnavailable as error:
            print(f"whether remaining trainings run elsewhere is not known: {error}", file=sys.stderr)
            return {}
        if found:
            names = "; ".join(f"{cell.name} is {other}" for cell, other in found.items())
            print(f"{counted(len(found), 'training')} running elsewhere, left out here: {names}", file=sys.stderr)
        return found

    def explain(self, remaining: Iterable[Cell]) -> None:
        """Print one line for each cell that remains although the tracker has a run of it, at the end of the dry run.

        That query takes as long as Snakemake's own plan, which need not wait for it.
        """
        cells = [cell for cell in dict.fromkeys(remaining) if cell not in self._completed.refused]
        if self._is_unreachable or not is_remote(self._tracking) or not cells:
            return
        if not self._unexplained:
            atexit.register(self._print_reasons)
        self._unexplained += cells

    def _print_reasons(self) -> None:
        try:
            if self._early_query:
                self._early_query.result()
            lines = self._reasons.lines(self._unexplained)
        except TrackerUnavailable as error:
            lines = [f"what the tracker has of the remaining trainings is not known: {error}"]
        for line in lines:
            print(line, file=sys.stderr)

    def require(self) -> None:
        """Raise ResomapError where the tracker is required, and does not answer or will not take all of a run."""
        self._require_standing(may_create=True)

    def _require_standing(self, may_create: bool) -> None:
        if not self._tracking.required:
            return
        try:
            found = standing(self._tracking, self._study.config.experiment, may_create)
        except TrackerUnavailable as error:
            raise self._required_error(str(error)) from None
        if reason := found.no_runs or found.no_files:
            raise self._required_error(reason)

    def _required_error(self, reason: str) -> ResomapError:
        return ResomapError(
            f"the tracker {tracking_uri(self._tracking)} is required and cannot be used: {reason}; mend that, or go on "
            "without it by --config 'tracking={required: false}'"
        )
