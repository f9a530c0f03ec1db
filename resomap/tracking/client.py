"""MLflow client with short time-outs, and idempotent search for runs: each is found, or created once.

Every function here may be interrupted anywhere and called again: a run that another process created at the same moment
is noticed by a second search, and the lowest (start time, id) of several counts.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.cells.tags import Tag, complete_marker, equals
from resomap.core.gc_control import paused_collection
from resomap.tracking.elsewhere import Elsewhere, competes, from_tags
from resomap.tracking.local_database import SCHEME, connect_local
from resomap.tracking.local_store import is_own, make_portable
from resomap.tracking.mlflow_variables import force_variables
from resomap.tracking.refusals import ACTIVE, TrackerRefusal, deleted_experiment
from resomap.tracking.rest import LOCAL_ARTIFACTS, LOCAL_DATABASE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RECHECK_SECONDS = 1.0
MAX_RUNS = 200
# The server will answer the same however often it is asked: the event is left out, those behind it are not.
REFUSALS = ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")


def connect(uri: str) -> "MlflowClient":
    """Return an MLflow client with time-outs of seconds, whatever the environment says.

    A local database is made or upgraded first. Raises TrackerRefusal where the installed MLflow cannot use it.
    """
    force_variables()
    with paused_collection():
        from mlflow import MlflowClient

    return connect_local(uri) if uri.startswith(SCHEME) else MlflowClient(tracking_uri=uri)


def experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """Return the id of an experiment, which is created where there is none. Raises TrackerRefusal for a deleted one."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        if known.lifecycle_stage != ACTIVE:
            raise TrackerRefusal(deleted_experiment(name, known.experiment_id))
        return known.experiment_id
    try:
        made = client.create_experiment(name, artifact_location=_artifact_location(uri))
        if is_own(uri):
            make_portable(LOCAL_DATABASE)
        return made
    except MlflowException:  # another process was faster
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return known.experiment_id


def _artifact_location(uri: str) -> str | None:
    """Return where a new experiment keeps its artifacts: beside a database; None where a server decides."""
    if not uri.startswith("sqlite:"):
        return None
    return Path(uri.removeprefix("sqlite:///")).absolute().with_name(LOCAL_ARTIFACTS.name).as_uri()


def find_or_create(
    client: "MlflowClient", experiment: str, tag: str, value: str, create: Callable[[], "Run"], pause: float = 0.0
) -> "Run":
    """Return the one run whose tag has this value; create it where there is none.

    After creating it, and after a `pause` in seconds for processes that began at the same moment, it is searched for
    again: the run with the lowest (start time, id) counts, and ours is deleted where that is another one.
    """
    found = _runs_with_tag(client, experiment, tag, value)
    if not found:
        made = create()
        time.sleep(pause)
        found = _runs_with_tag(client, experiment, tag, value) or [made]
        if made.info.run_id != found[0].info.run_id:
            client.delete_run(made.info.run_id)
    return found[0]


def sweep_run_id(client: "MlflowClient", experiment: str, base: str) -> str:
    """Return the id of the parent run of all cells of one base. It groups them and runs nothing: FINISHED at once."""

    def create() -> "Run":
        tags = {Tag.SWEEP: base, Tag.NOTE: "All trainings of one grid. Each of them is a run below this one."}
        return client.create_run(experiment, round(time.time() * 1000), tags, f"sweep {base}")

    run = find_or_create(client, experiment, Tag.SWEEP, base, create, RECHECK_SECONDS)
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id, "FINISHED")
    return str(run.info.run_id)


def competing_run(client: "MlflowClient", run: "Run", own_id: str) -> Elsewhere | None:
    """Return another run of the same cell and settings that counts in place of this one, or None.

    A complete one counts always; of those that run, the one with the lowest (start time, id) whose heartbeat is fresh.
    """
    own = run.data.tags
    found = client.search_runs(
        [run.info.experiment_id],
        equals(Tag.FINGERPRINT, own[Tag.FINGERPRINT]),
        max_results=MAX_RUNS,
        order_by=["attributes.start_time DESC"],
    )
    digest = own.get(Tag.CONTENT_DIGEST)
    others = [
        other for other in found if other.info.run_id != run.info.run_id and competes(other.data.tags, own_id, digest)
    ]
    for other in others:
        marker = complete_marker(other.info.run_id, other.info.status, other.data.tags)
        if marker is not None:
            return from_tags(other.info.run_id, other.data.tags, marker)
    running = [other for other in others if other.info.status == "RUNNING" and _precedence(other) < _precedence(run)]
    fresh = [from_tags(other.info.run_id, other.data.tags) for other in sorted(running, key=_precedence)]
    return next((other for other in fresh if other.is_fresh), None)


def is_refusal(error: BaseException) -> bool:
    """Return True if the server refuses the request for good, as opposed to trouble that passes."""
    return getattr(error, "error_code", None) in REFUSALS


def is_deleted(client: "MlflowClient", run_id: str) -> bool:
    """Return True if somebody deleted the run: the tracker still shows it when asked, and refuses all that is sent."""
    return bool(client.get_run(run_id).info.lifecycle_stage != ACTIVE)


def is_missing(error: BaseException) -> bool:
    """Return True if the server does not have what it was asked for."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def _runs_with_tag(client: "MlflowClient", experiment: str, tag: str, value: str) -> "list[Run]":
    """Return the runs whose tag has this value, the one that counts first."""
    return sorted(client.search_runs([experiment], equals(tag, value), max_results=MAX_RUNS), key=_precedence)


def _precedence(run: "Run") -> tuple[int, str]:
    return run.info.start_time, run.info.run_id
