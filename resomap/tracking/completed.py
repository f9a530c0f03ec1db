"""Cells that are complete in the tracker: one paged query for the whole study, whose answers are checked here.

A run counts when it is complete (see `resomap.cells.tags`) and its marker fits: this cell, these settings, finite
metrics, and the very images that are prepared here.
"""

from collections.abc import Mapping

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.tags import Tag, complete_marker, equals
from resomap.config.schema import Tracking
from resomap.tracking.rest import is_remote
from resomap.tracking.run_search import run_tags, search_runs

PAGE_SIZE = 1000


class Completed:
    """Complete runs of one study. `ask_once` queries the tracker; `markers` answers from the result."""

    def __init__(self, tracking: Tracking, experiment: str, base: str) -> None:
        self._tracking, self._experiment, self._base = tracking, experiment, base
        self._asked = False
        self._known: dict[str, list[Marker]] = {}  # by fingerprint, newest first
        self.refused: dict[Cell, str] = {}  # complete runs that do not count all the same, in words

    def ask_once(self) -> None:
        """Query the tracker at the first call; later calls do nothing.

        A local database, which only we write, is not asked.
        Raises TrackerUnavailable, which is not repeated; runs that came before the trouble are kept.
        """
        if self._asked or not is_remote(self._tracking):
            return
        self._asked = True
        is_complete = (
            f"attributes.status = 'FINISHED' and {equals(Tag.BASE, self._base)} and {equals(Tag.COMPLETE, '1')}"
        )
        for run in search_runs(
            self._tracking, self._experiment, is_complete, PAGE_SIZE, self._tracking.timeout_seconds
        ):
            tags = run_tags(run)
            marker = complete_marker(str(run["info"].get("run_id")), run["info"].get("status"), tags)
            if marker is not None:
                self._known.setdefault(str(tags.get(Tag.FINGERPRINT)), []).append(marker)

    def of_model(self, model: str) -> list[Marker]:
        """Return the markers of a model's runs that are complete, of whatever cell and settings of its own."""
        return [marker for markers in self._known.values() for marker in markers if marker.model == model]

    def markers(self, wanted: Mapping[Cell, str], content_digest: str | None) -> dict[Cell, Marker]:
        """Return the markers, with origin `tracker`, of those wanted cells (with their fingerprints) that are complete.

        `content_digest` is that of the images prepared here, where they are. Of several runs the newest counts.
        """
        found: dict[Cell, Marker] = {}
        for cell, fingerprint in wanted.items():
            for marker in self._known.get(fingerprint, []):
                run = str(marker.run_id)[:8]
                if not marker.counts_for(cell, fingerprint):
                    self.refused.setdefault(cell, f"run {run} is complete, but its marker is not a valid one")
                elif marker.is_of_other_images(content_digest):
                    self.refused.setdefault(cell, f"run {run} saw other image contents than those prepared here")
                else:
                    found[cell] = marker
                    self.refused.pop(cell, None)
                    break
        return found
