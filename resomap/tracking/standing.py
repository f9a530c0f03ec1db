"""Standing of a tracker: whether it will take the runs of a study, asked without sending anything.

The same things are asked that the sender meets: is the experiment deleted, do files reach the server's place for them,
can the installed MLflow use the local database? `resomap doctor` shows the answer, and a tracker that is `required`
must take everything before a run begins.
"""

import sqlite3
from dataclasses import dataclass
from urllib.parse import quote

from resomap.config.schema import Tracking
from resomap.tracking.answers import Experiment, OneExperiment
from resomap.tracking.local_database import database_path, query, refusal
from resomap.tracking.refusals import ACTIVE, deleted_experiment, unreachable_files
from resomap.tracking.rest import TrackerUnavailable, ask, ask_for, is_remote, tracking_uri


@dataclass(frozen=True)
class Standing:
    """Answer of a tracker: clauses on why it takes no runs, or no files of them; both None where it takes all."""

    is_known: bool  # the experiment is there
    no_runs: str | None = None
    no_files: str | None = None


def standing(tracking: Tracking, experiment: str, may_create: bool = False) -> Standing:
    """Return the standing of an experiment in the tracker.

    With `may_create` it is made where it is missing, as the first training would: where a new one keeps its files is
    known only then. Raises TrackerUnavailable.
    """
    if not is_remote(tracking):
        return _local(tracking, experiment)
    try:
        found = _by_name(tracking, experiment)
        if found is None and may_create:
            ask(tracking, "experiments/create", {"name": experiment})
            found = _by_name(tracking, experiment)
    except TrackerUnavailable as error:
        if error.code not in ("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE"):
            raise
        return Standing(False, no_runs=str(error))
    if found is None:
        return Standing(False)
    if found.lifecycle_stage != ACTIVE:
        return Standing(True, no_runs=deleted_experiment(experiment, found.experiment_id))
    return Standing(True, no_files=unreachable_files(tracking_uri(tracking), found.artifact_location))


def _by_name(tracking: Tracking, experiment: str) -> Experiment | None:
    try:
        path = f"experiments/get-by-name?experiment_name={quote(experiment, safe='')}"
        return ask_for(OneExperiment, tracking, path).experiment
    except TrackerUnavailable as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _local(tracking: Tracking, experiment: str) -> Standing:
    database = database_path(tracking_uri(tracking))
    if not database.exists():
        return Standing(False)
    if (problem := refusal(database)) is not None:
        return Standing(False, no_runs=problem)
    try:
        rows = query(
            database, "select experiment_id, lifecycle_stage from experiments where name = ?", [str(experiment)]
        )
    except sqlite3.Error:  # one without tables yet
        return Standing(False)
    for identity, stage in rows:
        if stage != ACTIVE:
            return Standing(True, no_runs=deleted_experiment(experiment, str(identity)))
    return Standing(bool(rows))
