"""Search of a tracker for runs by plain REST, newest first, with a deadline for all pages together."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from resomap.config.schema import Tracking
from resomap.tracking.answers import Experiments, Run, Runs, parsed
from resomap.tracking.rest import TrackerUnavailable, ask_for, tracking_uri

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
        answer = ask_for(Runs, tracking, "runs/search", question, left)
        yield from (run.model_dump() for run in (parsed(Run, content) for content in answer.runs) if run)
        if not answer.next_page_token or not answer.runs:
            return
        question["page_token"] = answer.next_page_token


def run_tags(run: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a run as MLflow's REST interface gives it."""
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def experiment_id(tracking: Tracking, name: str, seconds: float | None = None) -> str | None:
    """Return the id of an experiment, None where there is none of that name; asked once. Raises TrackerUnavailable."""
    key = (tracking_uri(tracking), name)
    if key not in _experiments:
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        question = {"filter": f"name = '{quoted}'", "max_results": 1}
        known = ask_for(Experiments, tracking, "experiments/search", question, seconds).experiments
        if not known:
            return None
        _experiments[key] = known[0].experiment_id
    return _experiments[key]
