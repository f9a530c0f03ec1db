"""A tracker that is away or hangs for a whole training changes neither its result nor its time; nothing is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    MODEL,
    RESOLUTION,
    command,
    environment_with,
    free_port,
    mlflow_server,
    small_config,
    snakemake,
    trainer,
)
from dagshub_stand_in import stand_in, status
from mlflow import MlflowClient
from test_resume import End, assert_same_bits
from waiting import wait_for

from resomap.cells.study import Study
from resomap.core.files import read_json
from resomap.tracking.journal import read_events
from resomap.tracking.sender import is_sent

CELL = f"{MODEL}@{RESOLUTION}"
STEM = f"results/{MODEL}/{RESOLUTION}"
TRAINING = {"epochs": 3}


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Directory of a server, with what it knows, and the port that it listens on when it is there."""
    return tmp_path_factory.mktemp("away"), free_port()


def runs(uri: str, experiment: str) -> list[Any]:
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    return client.search_runs([known.experiment_id], "tags.`resomap.cell` != ''") if known else []


def train(directory: Path) -> float:
    """Seconds until the training's process has ended."""
    began = time.monotonic()
    assert trainer(CELL, directory).wait(timeout=120) == 0
    return time.monotonic() - began


@pytest.mark.slow
def test_what_was_written_during_an_outage_arrives_by_sync(
    away: tuple[Path, int], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    place, port = away
    settings: dict[str, Any] = {"experiment": "outage", "training": TRAINING}
    tracking = {"uri": f"http://127.0.0.1:{port}", "drain_seconds": 60}
    here, calm = tmp_path / "here", tmp_path / "calm"
    study_in(here, **settings, tracking=tracking)
    train(here)
    assert read_json(here / f"{STEM}.done")["run_id"] is None
    log = (here / f"{STEM}.log").read_text()
    assert log.count("tracker: ") == 1  # one warning, however often it was tried
    assert "training goes on" in log
    assert "`resomap sync` sends the rest" in log
    failed = command("resomap", "sync", cwd=here)
    assert failed.returncode == 1
    assert f"not sent: {STEM}.journal.jsonl" in failed.stderr
    assert "Traceback" not in failed.stderr
    with mlflow_server(place, port) as uri:
        sent = command("resomap", "sync", cwd=here)
        assert sent.returncode == 0, sent.stderr
        assert "nothing to send" in command("resomap", "sync", cwd=here).stdout
        (run,) = runs(uri, "outage")
        assert (run.info.status, run.data.tags["resomap.complete"]) == ("FINISHED", "1")
        client = MlflowClient(tracking_uri=uri)
        points = client.get_metric_history(run.info.run_id, "val/loss")
        written = [event for event in read_events(here / f"{STEM}.journal.jsonl")[0] if event["kind"] == "metrics"]
        assert [(point.step, point.timestamp) for point in points] == [
            (event["step"], event["time"]) for event in written if "val/loss" in event["values"]
        ]
        assert len(points) == 3
        stored = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert stored == {"config.yaml", "environment.json", "figures", "history.csv", "predictions.npz"}
        # With the server there all along it is the same training.
        study_in(calm, **settings, tracking=tracking, skip_completed=False)
        train(calm)
        assert len(runs(uri, "outage")) == 2
    assert_same_bits(End.of(calm), End.of(here))


@pytest.mark.slow
def test_the_next_snakemake_sends_what_is_unsent_without_waiting_for_it(
    server: str, images: Path, tmp_path: Path
) -> None:
    with stand_in(server) as proxy:
        proxy.trouble = status(503)
        tracking = {"uri": proxy.uri, "drain_seconds": 0}
        config = small_config(images, experiment="background", training={"epochs": 1}, tracking=tracking)
        first = snakemake(directory=tmp_path, config=config)
        assert first.returncode == 0, first.stderr
        assert not is_sent(tmp_path / f"{STEM}.journal.jsonl")
        proxy.trouble = None
        second = snakemake(directory=tmp_path, config=config)  # there is nothing to train
        assert second.returncode == 0, second.stderr
        wait_for(lambda: is_sent(tmp_path / f"{STEM}.journal.jsonl"), every=0.2)
    (run,) = runs(server, "background")
    assert run.data.tags["resomap.complete"] == "1"


@pytest.mark.slow
def test_a_node_without_a_network_is_sent_for(server: str, study_in: Callable[..., Study], tmp_path: Path) -> None:
    """The background sync beside `snakemake` on the head node shows the training alive, and tells of its end."""
    long = {"epochs": 5000, "early_stopping": {"enabled": False}}
    tracking = {"uri": server, "drain_seconds": 60, "heartbeat_seconds": 0.5}
    study_in(tmp_path / "w", experiment="node", training=long, tracking=tracking)
    cut_off = environment_with(HTTP_PROXY=f"http://127.0.0.1:{free_port()}", NO_PROXY="")
    python = (sys.executable, "-m")
    node = subprocess.Popen((*python, "resomap", "train", CELL, "--threads", "1"), cwd=tmp_path / "w", env=cut_off)
    words = (*python, "resomap.tracking.sync", "--parent", str(os.getpid()))
    sync = subprocess.Popen(words, cwd=tmp_path / "w", env=environment_with(), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        beats, log = set(), tmp_path / "w" / f"{STEM}.log"
        while len(beats) < 3 or "tracker: " not in log.read_text():  # and it did try by itself
            assert time.monotonic() < deadline
            beats |= {run.data.tags["resomap.heartbeat"] for run in runs(server, "node")}
            time.sleep(0.1)
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=60) == 75
        while (found := runs(server, "node")[0]).info.status != "KILLED":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        node.kill()
        sync.kill()
        sync.wait()
    assert found.data.tags["resomap.reason"].startswith("SIGTERM")


@pytest.mark.slow
def test_a_server_that_fails_from_some_moment_on_gets_the_rest_later(
    server: str, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    with stand_in(server) as proxy:
        tracking = {"uri": proxy.uri, "drain_seconds": 2, "heartbeat_seconds": 0.5}
        long = {"epochs": 60, "early_stopping": {"enabled": False}}
        study_in(tmp_path / "w", experiment="between", training=long, tracking=tracking)
        process = trainer(CELL, tmp_path / "w")
        found = wait_for(lambda: [run for run in runs(server, "between") if "val/loss" in run.data.metrics], every=0.1)
        proxy.trouble = status(500)
        assert process.wait(timeout=120) == 0
        assert not is_sent(tmp_path / "w" / f"{STEM}.journal.jsonl")
        proxy.trouble = None
        sent = command("resomap", "sync", cwd=tmp_path / "w")
        assert sent.returncode == 0, sent.stderr
    (run,) = runs(server, "between")
    assert run.info.run_id == found[0].info.run_id
    assert run.info.status == "FINISHED"
    points = MlflowClient(tracking_uri=server).get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in points] == list(range(1, 61))


def test_a_server_that_hangs_costs_no_time(study_in: Callable[..., Study], tmp_path: Path) -> None:
    calm, hanging = tmp_path / "calm", tmp_path / "hanging"
    study_in(calm, training=TRAINING)
    train(calm)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        study_in(hanging, training=TRAINING, tracking={"uri": uri, "drain_seconds": 0})
        seconds = train(hanging)
    assert_same_bits(End.of(calm), End.of(hanging))
    assert seconds < 60  # MLflow's own client would have waited 20 minutes for each call
    assert read_json(hanging / f"{STEM}.done")["run_id"] is None
