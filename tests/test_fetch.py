"""A cell that was trained elsewhere: its run's files come here, what is not there is not available."""

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, free_port, small_config, snakemake
from mlflow import MlflowClient
from test_step_kills import killed_behind
from test_workflow import trainings

from resomap.compute.checkpoint import load_sealed
from resomap.core.files import read_json, write_json

# What is fetched is trained once: the tests run in one process.
pytestmark = [pytest.mark.xdist_group("fetch"), pytest.mark.slow]
NAMES = ("predictions.npz", "history.csv", "config.yaml", "environment.json")


@pytest.fixture(scope="module")
def trained(server: str, images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A directory in which a grid of one model was trained, with its weights in the tracker."""
    directory = tmp_path_factory.mktemp("trained")
    tracking = {"uri": server, "drain_seconds": 60, "keep_weights": True}
    config = small_config(images, resolutions=[32, 48], experiment="fetch", training={"epochs": 1}, tracking=tracking)
    finished = snakemake(directory=directory, config=config)
    assert finished.returncode == 0, finished.stderr
    return directory, config


def record(directory: Path, resolution: int = 32) -> Any:
    return read_json(directory / "results" / MODEL / f"{resolution}.fetched.json")


def weights(directory: Path, resolution: int = 32) -> Path:
    return directory / "checkpoints" / "resnet" / MODEL / str(resolution) / "best.pt"


def test_all_that_a_run_has_comes_here_once(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    here, config = trained
    listed = snakemake("-n", directory=here, config=config)
    assert "rule fetch:" not in listed.stdout  # trained here: there is nothing to fetch
    refused = command("resomap", "fetch", f"{MODEL}@32", cwd=here)
    assert refused.returncode == 2
    assert "was trained here" in refused.stderr
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert trainings(listed.stdout) == 0
    assert listed.stdout.count("rule fetch:") == 2
    finished = snakemake(directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    for resolution in (32, 48):
        for name in NAMES:
            mine, theirs = (place / "results" / MODEL / f"{resolution}.{name}" for place in (here, tmp_path))
            assert mine.read_bytes() == theirs.read_bytes()
        assert weights(here, resolution).read_bytes() == weights(tmp_path, resolution).read_bytes()
        content = record(tmp_path, resolution)
        assert (content["is_final"], content["unavailable"]) == (True, {})
        assert content["files"]["best.pt"] == str(weights(tmp_path, resolution).relative_to(tmp_path))
    assert not list((tmp_path / "results" / MODEL).glob(".fetch-*"))
    again = snakemake("-n", directory=tmp_path, config=config)
    assert "rule fetch:" not in again.stdout
    assert trainings(again.stdout) == 0
    # What came can be used: the weights are evaluated at the other resolution too.
    evaluated = snakemake("evaluations", directory=tmp_path, config=config)
    assert evaluated.returncode == 0, evaluated.stderr
    entries = read_json(tmp_path / "results" / MODEL / "32.evaluation.json")["test_resolutions"]
    assert all(entries[resolution] is not None for resolution in ("32", "48"))
    # A training that begins there one day is another one, with a run of its own.
    identity = read_json(weights(tmp_path).with_name("cell.json"))
    assert identity["uid"] != load_sealed(weights(tmp_path))["uid"]


def test_after_a_kill_in_the_fetch_the_plain_command_goes_on(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    _, config = trained
    output = f"results/{MODEL}/32.fetched.json"
    killed_behind([output], tmp_path, config, output)
    finished = snakemake(output, directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert record(tmp_path)["is_final"] is True


def test_what_a_run_lacks_is_not_available_and_not_trained_for(
    trained: tuple[Path, dict[str, Any]], server: str, tmp_path: Path
) -> None:
    here, config = trained
    client = MlflowClient(tracking_uri=server)
    run = client.get_run(read_json(here / "results" / MODEL / "32.done")["run_id"])
    bare = client.create_run(run.info.experiment_id, round(time.time() * 1000), tags=run.data.tags)
    damaged = tmp_path / "predictions.npz"
    damaged.write_bytes(b"no archive")
    client.log_artifact(bare.info.run_id, str(damaged))
    client.set_terminated(bare.info.run_id)  # the newest complete run of the cell
    there = tmp_path / "there"
    there.mkdir()
    try:
        finished = snakemake(directory=there, config=config)
    finally:
        client.delete_run(bare.info.run_id)
    assert finished.returncode == 0, finished.stderr
    content = record(there)
    assert content["run_id"] == bare.info.run_id
    assert content["is_final"] is True
    assert set(content["files"].values()) == {None}
    assert content["unavailable"]["predictions.npz"].endswith("damaged or of another training")
    assert content["unavailable"]["best.pt"] == "the run does not have it"
    assert not weights(there).exists()
    assert not (there / "results" / MODEL / "32.predictions.npz").exists()
    assert record(there, 48)["unavailable"] == {}


def test_a_tracker_that_is_away_is_asked_again_next_time(
    trained: tuple[Path, dict[str, Any]], server: str, tmp_path: Path
) -> None:
    here, config = trained
    away = {**config, "tracking": {**config["tracking"], "uri": f"http://127.0.0.1:{free_port()}"}}
    marker = read_json(here / "results" / MODEL / "32.done")
    write_json(tmp_path / "results" / MODEL / "32.done", {**marker, "origin": "tracker"})
    target = f"results/{MODEL}/32.fetched.json"
    finished = snakemake(target, directory=tmp_path, config=away)
    assert finished.returncode == 0, finished.stderr
    content = record(tmp_path)
    assert content["is_final"] is False
    assert "it did not come" in content["unavailable"]["history.csv"]
    assert "Traceback" not in finished.stdout + finished.stderr
    finished = snakemake(directory=tmp_path, config={**config, "resolutions": [32]})
    assert finished.returncode == 0, finished.stderr
    assert record(tmp_path)["is_final"] is True
    assert (tmp_path / "results" / MODEL / "32.history.csv").exists()
    assert not (tmp_path / "results" / MODEL / "32.log").exists()  # nothing was trained
