"""MLflow client with short time-outs, and idempotent search for runs: each is found, or created once.

Every function here may be interrupted anywhere and called again: a run that another process created at the same moment
is noticed by a second search, and the lowest (start time, id) of several counts.
"""

import fcntl
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.cells.tags import Tag, complete_marker, equals
from resomap.core.gc_control import paused_collection
from resomap.tracking.elsewhere import Elsewhere, competes, from_tags
from resomap.tracking.rest import LOCAL_ARTIFACTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RECHECK_SECONDS = 1.0
MAX_RUNS = 200
# The server will answer the same however often it is asked: the event is left out, those behind it are not.
REFUSALS = ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")


def connect(uri: str) -> "MlflowClient":
    """Return an MLflow client with time-outs of seconds. Creates the local database's schema once, under a lock.

    Processes that use a fresh database at the same moment break each other, so all wait for the first.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with paused_collection():
        from mlflow import MlflowClient

    if not uri.startswith("sqlite:"):
        return MlflowClient(tracking_uri=uri)
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(database.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            _make_database(database)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _make_database(database: Path) -> None:
    """Create MLflow's tables in a temporary file beside the database, then rename it.

    MLflow creates them in dozens of steps, and cannot go on from between two of them: a kill there would leave a
    database that refuses every run of the study.
    """
    from mlflow import MlflowClient

    for leftover in database.parent.glob(f".{database.name}.*.new"):
        leftover.unlink()  # of a kill; nobody else writes one, we hold the lock
    # A name of its own: MLflow keeps an engine for each address, which would not make its tables a second time.
    unfinished = database.with_name(f".{database.name}.{uuid.uuid4().hex}.new")
    MlflowClient(tracking_uri=f"sqlite:///{unfinished}").search_experiments(max_results=1)
    unfinished.replace(database)


def experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    """Return the id of an experiment, which is created where there is none."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    location = LOCAL_ARTIFACTS.resolve().as_uri() if uri.startswith("sqlite:") else None
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:  # another process was faster
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return known.experiment_id


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
        tags = {Tag.SWEEP: base, Tag.NOTE: "All cells of one grid. Each of them is a run below this one."}
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


def is_missing(error: BaseException) -> bool:
    """Return True if the server does not have what it was asked for."""
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def _runs_with_tag(client: "MlflowClient", experiment: str, tag: str, value: str) -> "list[Run]":
    """Return the runs whose tag has this value, the one that counts first."""
    return sorted(client.search_runs([experiment], equals(tag, value), max_results=MAX_RUNS), key=_precedence)


def _precedence(run: "Run") -> tuple[int, str]:
    return run.info.start_time, run.info.run_id
