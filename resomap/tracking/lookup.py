"""What planning learns from the tracker, and the lines it says about it. A local database is never asked.

Once per invocation: which cells are complete (`complete`), and where some are not, which are trained elsewhere
(`elsewhere`), and in a dry run what keeps the rest (`explain`): that question, the slowest, is answered while Snakemake
plans.
"""

import atexit
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.tracking.completed import Completed, prepared_digest
from resomap.tracking.elsewhere import Elsewhere, running_elsewhere
from resomap.tracking.explain import Reasons
from resomap.tracking.rest import TrackerUnavailable, is_remote, tracking_uri, why_unreachable


class TrackerLookup:
    """One study's questions to its tracker, asked by the process that plans."""

    def __init__(self, study: Study, is_dry_run: Callable[[], bool] = lambda: False) -> None:
        self._study, self._tracking, self._is_dry_run = study, study.config.tracking, is_dry_run
        self._completed = Completed(self._tracking, study.config.experiment, study.base)
        self._reasons = Reasons(study)
        self._is_away = False
        self._unexplained: list[Cell] = []
        self._asked_ahead: Future[None] | None = None

    def complete(self, wanted: Mapping[Cell, str]) -> dict[Cell, Marker]:
        """The markers of those cells (with their fingerprints) that the tracker has complete.

        Raises ResomapError where the tracker is required and does not answer; else that is one line.
        """
        if not wanted:
            return {}
        try:
            if not self._is_away:
                self._completed.ask_once()
        except TrackerUnavailable as error:
            self._is_away = True
            if self._tracking.required:
                raise self._required(str(error)) from None
            print(
                f"the tracker {tracking_uri(self._tracking)} is not asked: {error}; local markers count",
                file=sys.stderr,
            )
        found = self._completed.markers(wanted, self._content_digest)
        if found:
            names = ", ".join(cell.name for cell in found)
            print(f"{len(found)} cells are complete in the tracker: {names}", file=sys.stderr)
        for cell in wanted:
            if cell in self._completed.refused:
                print(f"{cell.name} is not taken from the tracker: {self._completed.refused[cell]}", file=sys.stderr)
        return found

    def is_refused(self, marker: Marker) -> bool:
        """Whether a marker that came from the tracker speaks of other images than those prepared here since."""
        return marker.is_from_tracker and marker.is_of_other_images(self._content_digest)

    def elsewhere(self, wanted: Mapping[Cell, str]) -> dict[Cell, Elsewhere]:
        """Those of the cells (with their fingerprints) that another place trains right now; one line names them."""
        if not wanted or self._is_away or not is_remote(self._tracking):
            return {}
        try:
            if self._is_dry_run() and self._asked_ahead is None:
                self._asked_ahead = ThreadPoolExecutor(1, "resomap-ahead").submit(self._reasons.ask_once)
            found = running_elsewhere(self._tracking, self._study.config.experiment, self._study.base, wanted)
        except TrackerUnavailable as error:
            print(f"whether remaining cells run elsewhere is not known: {error}", file=sys.stderr)
            return {}
        if found:
            names = "; ".join(f"{cell.name} is {other}" for cell, other in found.items())
            print(f"{len(found)} cells are trained elsewhere and left out here: {names}", file=sys.stderr)
        return found

    def explain(self, remaining: Iterable[Cell]) -> None:
        """One line for each cell that remains although the tracker has a run of it; at the end of the dry run.

        The answer to that question takes as long as Snakemake's own plan, which need not wait for it.
        """
        cells = [cell for cell in dict.fromkeys(remaining) if cell not in self._completed.refused]
        if self._is_away or not is_remote(self._tracking) or not cells:
            return
        if not self._unexplained:
            atexit.register(self._tell_reasons)
        self._unexplained += cells

    def _tell_reasons(self) -> None:
        try:
            if self._asked_ahead:
                self._asked_ahead.result()
            lines = self._reasons.lines(self._unexplained)
        except TrackerUnavailable as error:
            lines = [f"what the tracker has of the remaining cells is not known: {error}"]
        for line in lines:
            print(line, file=sys.stderr)

    def require(self) -> None:
        """Raises ResomapError where the tracker is required and does not answer."""
        if self._tracking.required and (reason := why_unreachable(self._tracking)):
            raise self._required(reason)

    def _required(self, reason: str) -> ResomapError:
        return ResomapError(
            f"the tracker {tracking_uri(self._tracking)} is required and cannot be used: {reason}; mend that, or go on "
            "without it by --config 'tracking={required: false}'"
        )

    @cached_property
    def _content_digest(self) -> str | None:
        return prepared_digest(self._study.data_identity)
