"""Cells that the tracker knows as complete: one paged query for the whole grid, answers checked here.

A run counts when it is FINISHED, carries the complete tag (a bare FINISHED proves nothing: a script that dies in an
exit handler ends so too), and its tag `resomap.marker` holds a marker that fits. That tag is the marker as the
trainer wrote it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from resomap.cell import Cell
from resomap.config.schema import Tracking
from resomap.marker import is_valid, whole
from resomap.tracking.tracker import ask

MARKER_TAG = "resomap.marker"
PAGE = 1000


def completed(tracking: Tracking, experiment: str, base: str, wanted: Mapping[Cell, str]) -> dict[Cell, dict[str, Any]]:
    """Marker contents, with origin `tracker`, of those wanted cells (with their fingerprints) that are complete there.

    Of two complete runs the newest counts. Raises TrackerUnavailable.
    """
    cell_of = {fingerprint: cell for cell, fingerprint in wanted.items()}
    found: dict[Cell, dict[str, Any]] = {}
    for run in _complete_runs(tracking, experiment, base):  # newest first
        tags = {tag.get("key"): tag.get("value") for tag in run.get("data", {}).get("tags", [])}
        cell = cell_of.get(str(tags.get("resomap.fingerprint")))
        content = _marker(tags)
        if content and cell is not None and cell not in found and is_valid(content, cell, wanted[cell]):
            found[cell] = {**content, "origin": "tracker", "run_id": run["info"]["run_id"]}
    return found


def _complete_runs(tracking: Tracking, experiment: str, base: str) -> Iterator[dict[str, Any]]:
    name = experiment.replace("\\", "\\\\").replace("'", "\\'")
    known = ask(tracking, "experiments/search", {"filter": f"name = '{name}'", "max_results": 1})
    if not known.get("experiments"):
        return
    question = {
        "experiment_ids": [known["experiments"][0]["experiment_id"]],
        "filter": f"attributes.status = 'FINISHED' and tags.`resomap.base` = '{base}' "
        "and tags.`resomap.complete` = '1'",
        "order_by": ["attributes.start_time DESC"],
        "max_results": PAGE,
    }
    while True:
        answer = ask(tracking, "runs/search", question)
        yield from answer.get("runs", [])
        if not answer.get("next_page_token"):
            return
        question["page_token"] = answer["next_page_token"]


def _marker(tags: Mapping[Any, Any]) -> dict[str, Any] | None:
    try:
        return whole(json.loads(tags[MARKER_TAG]))
    except (KeyError, TypeError, ValueError):
        return None
