"""A real MLflow server between two working copies, and servers that misbehave."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, environment_with, small_config, snakemake
from test_workflow import markers, trainings

from resomap.config.schema import Tracking
from resomap.files import read_json
from resomap.tracking.tracker import credentials, tracking_uri


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` process on the loopback interface."""
    directory, port = tmp_path_factory.mktemp("server"), free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--artifacts-destination", str(directory)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment_with(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_what_one_copy_finished_is_skipped_by_another(server: str, images: Path, tmp_path: Path) -> None:
    tracking = {"uri": server, "drain_seconds": 60}
    config = small_config(images, resolutions=[32, 48], training={"epochs": 1}, tracking=tracking)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    trained = snakemake(f"results/{MODEL}/32.done", directory=first, config=config)
    assert trained.returncode == 0, trained.stderr
    listed = snakemake("-n", directory=second, config=config)
    assert trainings(listed.stdout + listed.stderr) == 1
    assert f"1 cells are complete in the tracker: {MODEL}@32" in listed.stderr
    mine, theirs = (read_json(place / "results" / MODEL / "32.done") for place in (first, second))
    assert (mine["origin"], theirs["origin"]) == ("local", "tracker")
    assert theirs["run_id"] == mine["run_id"]
    assert theirs["metrics"] == mine["metrics"]
    finished = snakemake(directory=second, config=config)
    assert finished.returncode == 0, finished.stderr
    assert markers(second) == {f"{MODEL}/32.done", f"{MODEL}/48.done"}
    assert not (second / "results" / MODEL / "32.log").exists()  # that cell was not trained here
    # Other settings, another fingerprint: nothing is taken over.
    other = tmp_path / "other"
    other.mkdir()
    changed = {**config, "training": {**config["training"], "learning_rate": 0.002}}
    listed = snakemake("-n", directory=other, config=changed)
    assert trainings(listed.stdout + listed.stderr) == 2
    # And by wish the tracker is not asked, or the run no longer counts.
    asked_not = snakemake("-n", "--config", "skip_completed=false", directory=other, config=config)
    assert trainings(asked_not.stdout + asked_not.stderr) == 2


def test_a_cell_forgotten_in_the_tracker_is_taken_over_by_nobody(server: str, images: Path, tmp_path: Path) -> None:
    tracking = {"uri": server, "drain_seconds": 60}
    config = small_config(images, experiment="forget", training={"epochs": 1}, tracking=tracking)
    trained = snakemake(directory=tmp_path, config=config)
    assert trained.returncode == 0, trained.stderr
    done = command("resomap", "forget", f"{MODEL}@32", "--tracker", cwd=tmp_path)
    assert "no longer counts as complete" in done.stdout, done.stderr
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert trainings(listed.stdout + listed.stderr) == 1


def test_a_server_that_is_away_costs_one_line(images: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = small_config(images, tracking={"uri": f"http://127.0.0.1:{free_port()}"})
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert listed.returncode == 0
    assert trainings(listed.stdout + listed.stderr) == 1
    assert listed.stderr.count("is not asked: it does not answer properly") == 1


def test_a_dead_tracker_delays_the_end_by_drain_seconds_at_most(images: Path, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracking = {"uri": f"http://127.0.0.1:{silent.getsockname()[1]}", "drain_seconds": 3}
        config = small_config(images, training={"epochs": 1}, tracking=tracking, skip_completed=False)
        finished = snakemake(directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert read_json(tmp_path / "results" / MODEL / "32.done")["run_id"] is None
    assert "`resomap sync` sends the rest" in (tmp_path / "results" / MODEL / "32.log").read_text()
    unsent = command("resomap", "sync", cwd=tmp_path)
    assert unsent.returncode == 1
    assert "not sent: results/test_resnet/32.journal.jsonl" in unsent.stderr
    assert "Traceback" not in unsent.stderr


def test_dagshub_is_an_address_and_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    tracking = Tracking(dagshub="owner/repo")
    for name in ("DAGSHUB_CLIENT_HOST", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "DAGSHUB_USER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert tracking_uri(tracking) == "https://dagshub.com/owner/repo.mlflow"
    assert credentials(tracking) == {}
    monkeypatch.setenv("DAGSHUB_USER_TOKEN", "secret")
    assert credentials(tracking) == {"MLFLOW_TRACKING_USERNAME": "secret", "MLFLOW_TRACKING_PASSWORD": "secret"}
    assert credentials(Tracking(uri="https://elsewhere.example")) == {}


def test_a_server_that_hangs_is_left_after_a_short_time(images: Path, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        listed = snakemake("-n", directory=tmp_path, config=small_config(images, tracking={"uri": uri}))
        assert listed.returncode == 0
        assert "is not asked" in listed.stderr
        assert time.monotonic() - began < 20
