"""Cells that the tracker knows as complete: one paged query for the whole study, answers checked here.

A run counts when it is complete (see `resomap.cells.tags`) and its marker fits: this cell, these settings, finite
metrics, and the very images that are prepared here.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.tags import Tag, complete_marker, equals
from resomap.config.schema import Tracking
from resomap.data import DATA_DIRECTORY
from resomap.tracking.rest import TrackerUnavailable, ask, is_remote, tracking_uri

PAGE = 1000
HEAD = 1 << 20  # bytes: what stands before the manifest's list of images

# Ids of experiments by tracker and name: they never change, and three questions of one plan need them.
_experiments: dict[tuple[str, str], str] = {}


class Completed:
    """The complete runs of one study. `ask_once` asks the tracker; `markers` answers from what it said."""

    def __init__(self, tracking: Tracking, experiment: str, base: str) -> None:
        self._tracking, self._experiment, self._base = tracking, experiment, base
        self._asked = False
        self._known: dict[str, list[Marker]] = {}  # by fingerprint, newest first
        self.refused: dict[Cell, str] = {}  # complete runs that do not count all the same, in words

    def ask_once(self) -> None:
        """Ask at the first call; later ones, and those about a local database, which only we write, do nothing.

        Raises TrackerUnavailable, which is not repeated; what came before the trouble is known.
        """
        if self._asked or not is_remote(self._tracking):
            return
        self._asked = True
        for run in _complete_runs(self._tracking, self._experiment, self._base):
            tags = run_tags(run)
            marker = complete_marker(str(run["info"].get("run_id")), run["info"].get("status"), tags)
            if marker is not None:
                self._known.setdefault(str(tags.get(Tag.FINGERPRINT)), []).append(marker)

    def markers(self, wanted: Mapping[Cell, str], content_digest: str | None) -> dict[Cell, Marker]:
        """The markers, with origin `tracker`, of those wanted cells (with their fingerprints) that are complete.

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


def run_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a run as MLflow's REST interface gives it."""
    return {str(tag.get("key")): str(tag.get("value")) for tag in run.get("data", {}).get("tags", [])}


def experiment_id(tracking: Tracking, name: str, seconds: float | None = None) -> str | None:
    """The id of an experiment, None where there is none of that name; asked once. Raises TrackerUnavailable."""
    key = (tracking_uri(tracking), name)
    if key not in _experiments:
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        question = {"filter": f"name = '{quoted}'", "max_results": 1}
        known = ask(tracking, "experiments/search", question, seconds).get("experiments")
        if not known:
            return None
        _experiments[key] = str(known[0]["experiment_id"])
    return _experiments[key]


def prepared_digest(data_identity: str) -> str | None:
    """The content digest of the images prepared in this directory; None where they are not, or are others.

    Reads the head of manifest.json only: its list of images can be a million entries long.
    """
    try:
        with (DATA_DIRECTORY / "manifest.json").open("rb") as stream:
            head = stream.read(HEAD)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = dict(re.findall(rb'^ {2}"(identity|content_digest)": "([0-9a-f]+)"', head, re.MULTILINE))
    digest = found.get(b"content_digest")
    return digest.decode() if digest and found.get(b"identity") == data_identity.encode() else None


def _complete_runs(tracking: Tracking, experiment: str, base: str) -> Iterator[dict[str, Any]]:
    """Newest first, all within `tracking.timeout_seconds`."""
    end = time.monotonic() + tracking.timeout_seconds
    known = experiment_id(tracking, experiment)
    if known is None:
        return
    question = {
        "experiment_ids": [known],
        "filter": f"attributes.status = 'FINISHED' and {equals(Tag.BASE, base)} and {equals(Tag.COMPLETE, '1')}",
        "order_by": ["attributes.start_time DESC"],
        "max_results": PAGE,
    }
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TrackerUnavailable(f"it did not give all of its answer within {tracking.timeout_seconds:g} s")
        answer = ask(tracking, "runs/search", question, left)
        yield from (run for run in answer.get("runs", []) if isinstance(run.get("info"), dict))
        if not answer.get("next_page_token"):
            return
        question["page_token"] = answer["next_page_token"]
