"""Search of a tracker for runs by plain REST, newest first, with a deadline for all pages together."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from resomap.config.schema import Tracking
from resomap.core.text import printable
from resomap.tracking.rest import TrackerUnavailable, ask, tracking_uri

# Ids of experiments by tracker and name: they never change, and three questions of one plan need them.
_experiments: dict[tuple[str, str], str] = {}


def search_runs(
    tracking: Tracking, experiment: str, condition: str, page: int, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield the runs of an experiment that fit a condition (all where it is empty), `page` runs a request.

    Raises TrackerUnavailable at the page that does not come within `seconds` altogether.
    """
    end = time.monotonic() + seconds
    known = experiment_id(tracking, experiment, seconds)
    if known is None:
        return
    question = {"experiment_ids": [known], "order_by": ["attributes.start_time DESC"], "max_results": page}
    if condition:
        question["filter"] = condition
    while True:
        left = end - time.monotonic()
        if left <= 0:
            raise TrackerUnavailable(f"it did not give all of its answer within {seconds:g} s")
        answer = ask(tracking, "runs/search", question, left)
        yield from (run for run in answer.get("runs", []) if isinstance(run.get("info"), dict))
        if not answer.get("next_page_token"):
            return
        question["page_token"] = answer["next_page_token"]


def run_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run as MLflow's REST interface gives it."""
    return {str(tag.get("key")): printable(str(tag.get("value"))) for tag in run.get("data", {}).get("tags", [])}


def experiment_id(tracking: Tracking, name: str, seconds: float | None = None) -> str | None:
    """Return the id of an experiment, None where there is none of that name; asked once. Raises TrackerUnavailable."""
    key = (tracking_uri(tracking), name)
    if key not in _experiments:
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        question = {"filter": f"name = '{quoted}'", "max_results": 1}
        known = ask(tracking, "experiments/search", question, seconds).get("experiments")
        if not known:
            return None
        _experiments[key] = str(known[0]["experiment_id"])
    return _experiments[key]
