"""The journal keeps every event once; replayed any number of times it makes one run a training."""

import os
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from resomap.tracking.journal import Journal, read_events
from resomap.tracking.sender import Sender, is_sent, receipt_path


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/results/mlflow.db"


def write(path: Path, uid: str, epochs: int, status: str | None) -> None:
    journal = Journal(path)
    journal.start(uid, "cell", {"model": "m", "epochs": 3}, {"resomap.host": "here"})
    for epoch in range(1, epochs + 1):
        journal.metrics(epoch, {"val/loss": 1 / epoch, "val/auroc": None})
        journal.tags({"resomap.heartbeat": str(epoch)})
    if status:
        journal.end(status, {"resomap.complete": "1"} if status == "FINISHED" else {})
    journal.close()


def runs(uri: str) -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    return client.search_runs([client.get_experiment_by_name("E").experiment_id])


def test_epochs_passed_again_after_a_kill_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 2, None)
    write(path, "u1", 3, "FINISHED")
    steps = [event["step"] for event in read_events(path)[0] if event["kind"] == "metrics"]
    assert steps == [1, 2, 3]
    write(path, "u2", 1, None)  # another training in the same cell has points of its own
    assert [event["step"] for event in read_events(path)[0] if event["kind"] == "metrics"] == [1, 2, 3, 1]


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 2, None)
    os.truncate(path, path.stat().st_size - 5)
    write(path, "u1", 2, "FINISHED")
    kinds = [event["kind"] for event in read_events(path)[0]]
    assert kinds == ["start", "metrics", "tags", "metrics", "start", "tags", "tags", "end"]


def test_replay_from_any_point_makes_one_run_with_each_point_once(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 3, "FINISHED")
    for _ in range(3):
        assert Sender(path, uri, "E").send()
        assert is_sent(path)
        receipt_path(path).unlink()  # as if it had never been sent
    (run,) = runs(uri)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resomap.complete"] == "1"
    assert run.data.tags["resomap.heartbeat"] == "3"
    history = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in history] == [1, 2, 3]


def test_two_trainings_of_a_cell_are_two_runs(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 2, "FAILED")
    first = Sender(path, uri, "E").send()
    write(path, "u2", 1, "FINISHED")
    second = Sender(path, uri, "E").send()
    assert first != second
    assert {run.data.tags["resomap.uid"]: run.info.status for run in runs(uri)} == {"u1": "FAILED", "u2": "FINISHED"}
