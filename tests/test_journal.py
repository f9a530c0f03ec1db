"""The journal keeps every event once; replayed any number of times, cut off anywhere, it makes one run a training."""

import csv
import http.client
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dagshub_stand_in import StandIn, Visit, stand_in
from mlflow import MlflowClient
from waiting import wait_for

from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.core.files import file_digest
from resomap.core.text import encodable
from resomap.tracking.client import connect
from resomap.tracking.journal import Journal, read_events
from resomap.tracking.sender import Busy, Receipt, Sender, is_sent, receipt_path, sent_run_id

EPOCHS = 3
TAGS = {"resomap.base": "b", "resomap.host": "here", "resomap.fingerprint": "f"}


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/results/mlflow.db"


def write(path: Path, uid: str, epochs: int, status: str | None, params: dict[str, Any] | None = None) -> None:
    journal = Journal(path)
    journal.start(uid, "cell", {"model": "m", "epochs": 3, **(params or {})}, {"resomap.host": "here"})
    for epoch in range(1, epochs + 1):
        journal.metrics(epoch, {"val/loss": 1 / epoch, "val/auroc": None})
    if status:
        journal.end(status, {"resomap.complete": "1"} if status == "FINISHED" else {"resomap.reason": "why"})
    journal.close()


def write_whole(path: Path, uid: str) -> None:
    """A journal with every kind of event, and the files that it names."""
    history, predictions = path.with_name("h.csv"), path.with_name("p.npz")
    with history.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["epoch", "learning_rate", "train/loss", "val/loss", "train/accuracy", "val/accuracy"])
        writer.writerows([epoch, 0.1, 1 / epoch, 1 / epoch, 0.5, ""] for epoch in range(1, EPOCHS + 1))
    split = SplitPredictions(["a", "b"], np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32))
    Predictions("f", uid, ["no", "yes"], {"val": split, "test": split}).save(predictions)
    journal = Journal(path)
    data = {"name": "images", "digest": "0123456789abcdef" * 4, "source": "images"}
    journal.start(uid, "cell", {"model": "m", "epochs": EPOCHS}, TAGS, data)
    for epoch in range(1, EPOCHS + 1):
        journal.heartbeat(epoch, {"system/cpu_utilization_percentage": 10.0 * epoch})
        journal.metrics(epoch, {"val/loss": 1 / epoch, "val/auroc": None, "val/accuracy": float("nan")})
    journal.artifact(history, "history.csv")
    journal.artifact(predictions, "predictions.npz")
    journal.figures(history, predictions)
    journal.end("FINISHED", {"resomap.marker": "{}", "resomap.complete": "1"})
    journal.close()


def runs(uri: str, experiment: str = "E") -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def assert_whole(uri: str, experiment: str, journal: Path) -> None:
    """One run of the cell below one parent, with everything once."""
    client, found = MlflowClient(tracking_uri=uri), runs(uri, experiment)
    (parent,) = (run for run in found if "resomap.sweep" in run.data.tags)
    (run,) = (run for run in found if "resomap.uid" in run.data.tags)
    assert (parent.info.status, run.info.status) == ("FINISHED", "FINISHED")
    assert run.info.run_id == sent_run_id(journal)
    beat = read_events(journal)[0][-4]["time"]
    wanted = {**TAGS, "resomap.complete": "1", "resomap.marker": "{}", "mlflow.parentRunId": parent.info.run_id}
    assert {name: run.data.tags.get(name) for name in wanted} == wanted
    assert abs(int(run.data.tags["resomap.heartbeat"]) - beat / 1000) <= 1
    assert run.data.params == {"model": "m", "epochs": str(EPOCHS)}
    assert run.data.metrics.keys() == {"val/loss", "system/cpu_utilization_percentage"}
    for name in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3]
    (images,) = run.inputs.dataset_inputs
    assert images.dataset.digest == ("0123456789abcdef" * 4)[:36]
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored == {"history.csv", "predictions.npz", "figures"}
    figures = {item.path: item.file_size for item in client.list_artifacts(run.info.run_id, "figures")}
    assert figures.keys() == {"figures/curves.png", "figures/confusion_matrix.png"}
    assert min(figures.values()) > 1000


def test_what_a_full_disk_did_not_take_is_written_whole_when_there_is_room(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives the same short write as a disk with a few bytes left; the error is then ENOSPC's like."""
    script = """
import errno, resource, signal, sys
from pathlib import Path
from resomap.tracking import journal as module
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
module.NO_ROOM = (*module.NO_ROOM, errno.EFBIG)
path = Path(sys.argv[1])
book = module.Journal(path)
book.start("uid", "cell", {}, {})
size = path.stat().st_size
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
book.metrics(1, {"loss": 1.0})
assert not book.is_complete and path.stat().st_size == size + 20
book.metrics(2, {"loss": 0.5})
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
book.metrics(3, {"loss": 0.25})
assert book.is_complete
"""
    path = tmp_path / "a.journal.jsonl"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    events, end = read_events(path)
    assert [(event["step"], event["values"]["loss"]) for event in events[1:]] == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert end == path.stat().st_size


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
    assert [event["kind"] for event in read_events(path)[0]] == ["start", "metrics"]
    write(path, "u1", 2, "FINISHED")
    kinds = [event["kind"] for event in read_events(path)[0]]
    assert kinds == ["start", "metrics", "start", "metrics", "end"]


def test_replay_from_any_point_makes_one_run_with_each_point_once(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write_whole(path, "u1")
    for _ in range(3):
        assert Sender(path, uri, "E").send()
        assert is_sent(path)
        assert not is_sent(path, "http://another")
        assert_whole(uri, "E", path)
        receipt_path(path).unlink()  # as if it had never been sent


def test_two_trainings_of_a_cell_are_two_runs(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 2, "FAILED")
    first = Sender(path, uri, "E").send()
    write(path, "u2", 1, "FINISHED")
    second = Sender(path, uri, "E").send()
    assert first != second
    assert {run.data.tags["resomap.uid"]: run.info.status for run in runs(uri)} == {"u1": "FAILED", "u2": "FINISHED"}


def test_a_run_that_goes_on_is_running_again_and_keeps_its_first_params(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 1, "FAILED", {"data.source": "old/place"})
    first = Sender(path, uri, "E").send()
    (run,) = runs(uri)
    assert (run.info.status, run.data.tags["resomap.reason"]) == ("FAILED", "why")
    write(path, "u1", 2, None, {"data.source": "new/place", "added": 1})  # the folder has moved: the same images
    assert Sender(path, uri, "E").send() == first
    (run,) = runs(uri)
    assert (run.info.status, "resomap.reason" in run.data.tags) == ("RUNNING", False)
    assert (run.data.params["data.source"], run.data.params["added"]) == ("old/place", "1")


def test_what_the_server_refuses_for_good_does_not_hold_up_the_rest(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path)
    journal.start("u1", "cell", {"good": 1, "bad*name": 2}, {})
    journal.metrics(1, {"loss": 1.0, "at@sign": 2.0})
    journal.artifact(Path(__file__), "kept.py")
    gone = tmp_path / "gone.csv"
    gone.write_text("first")
    journal.artifact(gone)
    gone.write_text("of another training")
    journal.end("FINISHED", {"resomap.complete": "1"})
    journal.close()
    Sender(path, uri, "E").send()
    (run,) = runs(uri)
    assert run.data.tags["resomap.complete"] == "1"
    assert run.data.params == {"good": "1"}
    assert run.data.metrics.keys() == {"loss"}
    assert [item.path for item in MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id)] == ["kept.py"]
    said = capsys.readouterr().out
    assert said.count("the tracker refuses") == 2
    assert "gone.csv is gone or written anew since" in said


@pytest.mark.parametrize(
    "classes", [["$5^$", "q"], ["Ba$$in", "x"], ["a_b^{", "$x_$"], [os.fsdecode(b"caf\xe9"), "ok"], ["\u6f22", "\n\t"]]
)
def test_names_that_are_anybodys_cost_a_run_nothing(uri: str, tmp_path: Path, classes: list[str]) -> None:
    path = tmp_path / "j.jsonl"
    write_whole(path, "u1")
    split = SplitPredictions(["a", "b"], np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32))
    history, predictions = path.with_name("h.csv"), path.with_name("q.npz")
    Predictions("f", "u1", classes, {"val": split, "test": split}).save(predictions)
    path.unlink()
    journal = Journal(path)
    journal.start("u1", "cell", {"data.source": f"images/{classes[0]}"}, {"resomap.host": classes[0]})
    journal.figures(history, predictions)
    journal.end("FINISHED", {"resomap.reason": f"the image {classes[0]} is gone", "resomap.complete": "1"})
    journal.close()
    said: list[str] = []
    Sender(path, uri, "E", said.append).send()
    (run,) = runs(uri)
    assert run.info.status == "FINISHED"
    assert run.data.tags["resomap.host"] == encodable(classes[0])
    figures = MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id, "figures")
    assert {Path(item.path).name for item in figures} == {"curves.png", "confusion_matrix.png"}
    assert said == []


def test_a_figure_that_fails_costs_itself_and_not_the_journal(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write_whole(path, "u1")
    events = path.read_text()
    history = path.with_name("h.csv")
    history.write_text("epoch,learning_rate\nfirst,0.1\n")
    old = next(event for event in read_events(path)[0] if event["kind"] == "figures")["history"]["sha256"]
    path.write_text(events.replace(old, file_digest(history)))
    said: list[str] = []
    Sender(path, uri, "E", said.append).send()
    run = next(run for run in runs(uri) if "resomap.uid" in run.data.tags)
    assert run.info.status == "FINISHED"
    figures = MlflowClient(tracking_uri=uri).list_artifacts(run.info.run_id, "figures")
    assert [Path(item.path).name for item in figures] == ["confusion_matrix.png"]
    assert len(said) == 1
    assert said[0].startswith("curves.png is not drawn: ValueError")


def test_a_tracker_that_lost_the_run_gets_all_of_it_again(uri: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(path, "u1", 2, None)
    Sender(path, uri, "E").send()
    for file in (tmp_path / "results").glob("mlflow.db*"):
        file.unlink()
    fresh = f"sqlite:///{tmp_path}/results/./mlflow.db"  # MLflow keeps an engine for each address
    receipt = Receipt.read(path)
    assert receipt is not None
    receipt_path(path).write_text(receipt_path(path).read_text().replace(uri, fresh))
    write(path, "u1", 3, "FINISHED")
    Sender(path, fresh, "E").send()
    (run,) = runs(fresh)
    assert run.info.status == "FINISHED"
    history = MlflowClient(tracking_uri=fresh).get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in history] == [1, 2, 3]


def test_files_set_aside_since_are_found(uri: str, tmp_path: Path) -> None:
    path, file = tmp_path / "j.jsonl", tmp_path / "32.history.csv"
    file.write_text("mine")
    journal = Journal(path)
    journal.start("u1", "cell", {}, {})
    journal.artifact(file, "history.csv")
    journal.close()
    aside = tmp_path / "set-aside" / "0123"
    aside.mkdir(parents=True)
    file.rename(aside / file.name)
    file.write_text("of other settings")
    run_id = Sender(path, uri, "E").send()
    fetched = MlflowClient(tracking_uri=uri).download_artifacts(run_id, "history.csv", str(tmp_path))
    assert Path(fetched).read_text() == "mine"


def send(journal: str, uri: str, experiment: str) -> None:
    Sender(Path(journal), uri, experiment).send()


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Processes that have mlflow imported already, so that a kill hits the sending and not the import."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["mlflow.tracking.client", "resomap.tracking.sender", "resomap.tracking.run_figures"]
    )
    return context


@pytest.fixture
def door(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A proxy in front of the MLflow server."""
    monkeypatch.chdir(tmp_path)
    with stand_in(server) as proxy:
        yield proxy


def killer(door: StandIn, at: int, victim: list[BaseProcess]) -> None:
    """At the `at`-th request the sender dies: the server has done what it was asked, and nobody hears of it."""

    def trouble(visit: Visit) -> bool:
        if len(door.requests) != at:
            return False
        behind = http.client.HTTPConnection(door.upstream, timeout=60)
        headers = {"Content-Type": visit.headers.get("Content-Type", "application/json")}
        behind.request(visit.command, visit.path, visit.body or None, headers)
        behind.getresponse().read()
        behind.close()
        os.kill(victim[0].pid or 0, signal.SIGKILL)
        visit.close_connection = True
        return True

    door.requests.clear()
    door.trouble = trouble


@pytest.mark.slow
def test_a_sender_killed_at_every_request_loses_and_repeats_nothing(
    server: str, door: StandIn, forks: ForkServerContext, tmp_path: Path
) -> None:
    path, at, killed = tmp_path / "j.jsonl", 0, 0
    write_whole(path, "u-every")
    while not is_sent(path):
        at += 1  # one request further each time, on the same run, as if nothing had been sent yet
        victim: list[BaseProcess] = [forks.Process(target=send, args=(str(path), door.uri, "every"))]
        killer(door, at, victim)
        victim[0].start()
        victim[0].join(60)
        killed += victim[0].exitcode == -signal.SIGKILL
        assert victim[0].exitcode in (0, -signal.SIGKILL)
        if victim[0].exitcode == -signal.SIGKILL:
            receipt_path(path).unlink(missing_ok=True)
    assert killed == at - 1 >= 10
    assert_whole(server, "every", path)


def test_a_sender_killed_at_random_moments_loses_and_repeats_nothing(
    server: str, forks: ForkServerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, chance, killed = tmp_path / "j.jsonl", random.Random(3), 0
    write_whole(path, "u-random")
    for attempt in range(1, 1000):
        process = forks.Process(target=send, args=(str(path), server, "random"))
        process.start()
        process.join(chance.uniform(0, 0.05 * attempt))
        process.kill()
        process.join(60)
        killed += process.exitcode == -signal.SIGKILL
        if is_sent(path):
            break
        if attempt % 4 == 0:
            receipt_path(path).unlink(missing_ok=True)
    assert killed >= 3
    assert_whole(server, "random", path)


def test_two_senders_at_once_make_one_run(
    server: str, forks: ForkServerContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "j.jsonl"
    write_whole(path, "u-two")
    both = [forks.Process(target=send, args=(str(path), server, "two")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert 0 in [process.exitcode for process in both]  # the other one may have found the journal busy
    assert_whole(server, "two", path)


def test_a_journal_is_sent_by_one_process_at_a_time(
    door: StandIn, server: str, forks: ForkServerContext, tmp_path: Path
) -> None:
    def slow(visit: Visit) -> bool:
        time.sleep(0.5)
        return False

    path = tmp_path / "j.jsonl"
    write(path, "u-busy", 1, "FINISHED")
    door.trouble = slow
    first = forks.Process(target=send, args=(str(path), door.uri, "busy"))
    first.start()
    while not door.requests:
        assert first.is_alive()
        time.sleep(0.02)
    with pytest.raises(Busy):
        Sender(path, server, "busy").send()
    first.join(60)
    assert first.exitcode == 0


def test_a_kill_while_the_local_database_is_made_leaves_none_that_refuses(tmp_path: Path) -> None:
    """MLflow makes its tables in dozens of steps and cannot go on from between two of them."""
    database = tmp_path / "results" / "mlflow.db"

    def unfinished() -> list[Path]:
        return list(database.parent.glob(".mlflow.db.*.new"))

    words = [sys.executable, "-c", f"from resomap.tracking.client import connect; connect('sqlite:///{database}')"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(path.stat().st_size > 50_000 for path in unfinished()), every=0.002, process=process)
    process.kill()
    process.wait()
    assert not database.exists()
    assert connect(f"sqlite:///{database}").search_experiments()
    assert unfinished() == []
