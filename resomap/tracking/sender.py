"""Replays a journal to MLflow. Sent twice, stopped half-way, killed: the tracker ends up with the same run.

A run is found by its uid before it is created; points carry the journal's times, so a repeated point is stored
once; params and tags are set to the same values; the complete tag is written last.
"""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.errors import ResomapError
from resomap.files import read_json, write_json
from resomap.tracking.journal import read_events
from resomap.tracking.tracker import LOCAL_ARTIFACTS, LOCAL_DATABASE

if TYPE_CHECKING:
    from mlflow import MlflowClient

POLL_SECONDS = 1.0
RETRY_SECONDS = 15.0
BATCH = 100  # params or tags a call: the REST interface's limit; metrics may be 1000
PARAM_LENGTH = 6000


def receipt_path(journal: Path) -> Path:
    """Beside the journal: how far it was sent, and the run's id."""
    return journal.with_suffix(".sent.json")


def sent_run_id(journal: Path) -> str | None:
    """The id that the tracker gave to the journal's run, once it has."""
    return (read_json(receipt_path(journal)) or {}).get("run_id")


def is_sent(journal: Path) -> bool:
    """Whether the tracker has everything that is in the journal."""
    receipt = read_json(receipt_path(journal)) or {}
    return receipt.get("offset") == journal.stat().st_size


class Sender:
    """Sends one journal to one experiment of one tracker."""

    def __init__(self, journal: Path, uri: str, experiment: str) -> None:
        self._journal = journal
        self._uri = uri
        self._experiment = experiment
        self._client: MlflowClient | None = None
        receipt = read_json(receipt_path(journal)) or {}
        fits = receipt.get("uri") == uri  # another tracker knows nothing of what the first one got
        self._offset: int = receipt.get("offset", 0) if fits else 0
        self._run_id: str | None = receipt.get("run_id") if fits else None
        self._uid: str | None = receipt.get("uid") if fits else None

    def send(self) -> str | None:
        """Send what is not sent yet; the run's id, or None where the journal is empty.

        Raises mlflow.exceptions.MlflowException (or requests' errors) where the tracker does not take it.
        """
        events, offset = read_events(self._journal, self._offset)
        for event in _gathered(events):
            self._apply(event)
        if events:
            self._offset = offset
            receipt = {"uri": self._uri, "offset": offset, "run_id": self._run_id, "uid": self._uid}
            write_json(receipt_path(self._journal), receipt)
        return self._run_id

    def _apply(self, event: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        client, kind = self._connected(), event["kind"]
        if kind == "start":
            if event["uid"] != self._uid:  # the settings changed: another training, another run
                self._uid, self._run_id = event["uid"], None
            self._run_id = self._run_id or self._find(event["uid"]) or self._create(event)
            client.update_run(self._run_id, status="RUNNING")
            params = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in event["params"].items()]
            tags = [RunTag(name, value) for name, value in event["tags"].items()]
            for part in _parts(params, BATCH):
                client.log_batch(self._run_id, params=part)
            for part in _parts(tags, BATCH):
                client.log_batch(self._run_id, tags=part)
            return
        if self._run_id is None:
            raise ResomapError(f"{self._journal} does not begin with the start of a run")
        if kind == "metrics":
            points = [Metric(name, value, event["time"], event["step"]) for name, value in event["values"].items()]
            for part in _parts(points, 10 * BATCH):
                client.log_batch(self._run_id, metrics=part)
        elif kind == "tags":
            client.log_batch(self._run_id, tags=[RunTag(*pair) for pair in event["values"].items()])
        elif kind == "artifact" and Path(event["path"]).exists():
            client.log_artifact(self._run_id, event["path"])
        elif kind == "end":
            client.set_terminated(self._run_id, event["status"], event["time"])
            for name, value in event["tags"].items():
                client.set_tag(self._run_id, name, value)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._uri)
        return self._client

    def _find(self, uid: str) -> str | None:
        client = self._connected()
        experiment = client.get_experiment_by_name(self._experiment)
        if experiment is None:
            return None
        found = client.search_runs([experiment.experiment_id], f"tags.`resomap.uid` = '{uid}'", max_results=1)
        return found[0].info.run_id if found else None

    def _create(self, event: Mapping[str, Any]) -> str:
        client = self._connected()
        experiment = _experiment_id(client, self._uri, self._experiment)
        tags = {**event["tags"], "resomap.uid": event["uid"]}
        run = client.create_run(experiment, start_time=event["time"], tags=tags, run_name=event["name"])
        return run.info.run_id


def connect(uri: str) -> "MlflowClient":
    """An MLflow client that gives up soon. Creates the local database's schema once, under a lock.

    Processes that use a fresh database at the same moment break each other, so all wait for the first.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from mlflow import MlflowClient

    if not uri.startswith("sqlite:"):
        return MlflowClient(tracking_uri=uri)
    LOCAL_DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with open(LOCAL_DATABASE.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _experiment_id(client: "MlflowClient", uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    location = LOCAL_ARTIFACTS.resolve().as_uri() if uri.startswith("sqlite:") else None
    try:
        return client.create_experiment(name, artifact_location=location)
    except MlflowException:  # another sender was faster
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return known.experiment_id


def _gathered(events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The events without tags that a later one overwrites anyway (a heartbeat an epoch, sent hours later)."""
    waiting: dict[str, str] = {}
    for event in events:
        if event["kind"] == "tags":
            waiting.update(event["values"])
            continue
        if event["kind"] != "metrics" and waiting:
            yield {"kind": "tags", "values": dict(waiting)}
            waiting.clear()
        yield event
    if waiting:
        yield {"kind": "tags", "values": waiting}


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def follow(journal: Path, uri: str, experiment: str, parent: int) -> bool:
    """Send while the trainer `parent` lives, then once more; True where everything arrived."""
    sender, next_try = Sender(journal, uri, experiment), 0.0
    while True:
        alive = os.getppid() == parent
        if time.monotonic() >= next_try or not alive:
            try:
                sender.send()
                if not alive or _has_ended(journal):
                    return True
            except Exception as error:
                # Whatever the tracker does, the journal keeps it; the next call goes on from there.
                print(f"tracker: {type(error).__name__}: {str(error)[:300]}; trying again later", flush=True)
                if not alive:
                    return False
                next_try = time.monotonic() + RETRY_SECONDS
        time.sleep(POLL_SECONDS)


def _has_ended(journal: Path) -> bool:
    """Whether the attempt is over and the tracker has all of it."""
    events, _ = read_events(journal)
    return bool(events) and events[-1]["kind"] == "end" and is_sent(journal)


def main() -> int:
    """`python -m resomap.tracking.sender`: started by a trainer for its own journal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal", type=Path)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args()
    return 0 if follow(given.journal, given.uri, given.experiment, given.parent) else 1


if __name__ == "__main__":
    sys.exit(main())
