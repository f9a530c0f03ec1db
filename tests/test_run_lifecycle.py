"""One run a training, alive while it trains and told apart from a dead one; two places that want the same cell.

Real trainings against a real MLflow server.
"""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, RESOLUTION, command, small_config, snakemake, trainer
from mlflow import MlflowClient
from waiting import wait_for

from resomap.cells.study import Study
from resomap.core.files import read_json
from resomap.tracking.elsewhere import STALE_SECONDS, Elsewhere, running_elsewhere
from resomap.tracking.journal import read_events

CELL = f"{MODEL}@{RESOLUTION}"
STEM = f"results/{MODEL}/{RESOLUTION}"
LONG = {"epochs": 5000, "early_stopping": {"enabled": False}}


@pytest.fixture
def tracking(server: str) -> dict[str, Any]:
    return {"uri": server, "drain_seconds": 60, "heartbeat_seconds": 0.5}


def runs(server: str, experiment: str) -> list[Any]:
    client = MlflowClient(tracking_uri=server)
    known = client.get_experiment_by_name(experiment)
    found = client.search_runs([known.experiment_id], "tags.`resomap.cell` != ''") if known else []
    return sorted(found, key=lambda run: run.info.start_time)


def log(directory: Path) -> str:
    return (directory / f"{STEM}.log").read_text()


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_killed_training_looks_alive_then_dead_and_goes_on_in_the_same_run(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    name, here = "alive", tmp_path / "here"
    study = study_in(here, experiment=name, training=LONG, tracking=tracking, checkpoints={"every_minutes": 0})
    first = trainer(CELL, here)
    try:
        (run,) = wait_for(lambda: runs(server, name))
        beat = int(run.data.tags["resomap.heartbeat"])
        assert run.info.status == "RUNNING"
        wait_for(lambda: int(runs(server, name)[0].data.tags["resomap.heartbeat"]) > beat + 2)
        wait_for(lambda: "val/loss" in runs(server, name)[0].data.metrics)
    finally:
        end(first)
    assert time.time() - int(runs(server, name)[0].data.tags["resomap.heartbeat"]) < STALE_SECONDS
    wanted = study.fingerprints()
    asked = (study.config.tracking, name, study.base, wanted)
    assert running_elsewhere(*asked) == {}  # it is ours: this directory need not wait for it
    study_in(tmp_path / "there", experiment=name, training=LONG, tracking=tracking)
    ((cell, other),) = running_elsewhere(*asked).items()
    assert (cell.name, other.run_id) == (CELL, run.info.run_id)
    long_ago = str(round(time.time() - STALE_SECONDS - 1))
    MlflowClient(tracking_uri=server).set_tag(run.info.run_id, "resomap.heartbeat", long_ago)
    assert running_elsewhere(*asked) == {}
    # It goes on at once, in the same run; a signal ends it, and it goes on once more.
    second = trainer(CELL, here, "--attempt", "2")
    try:
        wait_for(lambda: (read_json(here / f"{STEM}.progress.json") or {}).get("attempt") == 2)
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=60) == 75
    finally:
        end(second)
    (run,) = wait_for(lambda: [run for run in runs(server, name) if run.info.status == "KILLED"])
    assert run.data.tags["resomap.attempt"] == "2"
    assert re.match(r"SIGTERM at epoch \d+", run.data.tags["resomap.reason"])
    points = MlflowClient(tracking_uri=server).get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in points] == list(range(1, len(points) + 1))
    samples = MlflowClient(tracking_uri=server).get_metric_history(
        run.info.run_id, "system/system_memory_usage_megabytes"
    )
    assert [point.step for point in samples] == list(range(1, len(samples) + 1))


def test_a_failure_is_told_with_its_reason(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    diverging = {"optimizer": "sgd", "learning_rate": 1e12, "gradient_clip": None}
    study_in(tmp_path / "w", experiment="diverging", training=diverging, tracking=tracking)
    done = command("resomap", "train", CELL, "--threads", "1", cwd=tmp_path / "w")
    assert done.returncode == 65
    (run,) = wait_for(lambda: [run for run in runs(server, "diverging") if run.info.status == "FAILED"])
    assert "diverged at epoch 1" in run.data.tags["resomap.reason"]
    assert "resomap.complete" not in run.data.tags


@pytest.mark.slow
def test_of_two_places_one_trains_and_the_other_gives_way(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], images: Path, tmp_path: Path
) -> None:
    name, here, there = "two-places", tmp_path / "here", tmp_path / "there"
    settings: dict[str, Any] = {"experiment": name, "training": LONG, "tracking": tracking}
    for place in (there, here):
        study = study_in(place, **settings)
    first = trainer(CELL, here)
    try:
        (older,) = wait_for(lambda: runs(server, name))
        second = command("resomap", "train", CELL, "--threads", "1", cwd=there)
        assert second.returncode == 69, second.stderr
        assert f"resomap: {CELL} is running on" in second.stderr
        assert "gives way" in log(there)
        assert "Traceback" not in log(there) + second.stderr
        assert not (there / f"{STEM}.failed.json").exists()
        assert (there / "checkpoints" / "resnet" / MODEL / str(RESOLUTION) / "last.pt").exists()
        (younger,) = wait_for(lambda: [run for run in runs(server, name) if run.info.status == "KILLED"])
        assert younger.data.tags["resomap.superseded"] == older.info.run_id
        assert [run.info.run_id for run in runs(server, name)] == [older.info.run_id, younger.info.run_id]
        # Snakemake's retry ends before it trains.
        again = command("resomap", "train", CELL, "--threads", "1", "--attempt", "2", cwd=there)
        assert again.returncode == 69
        assert "this training does not begin" in again.stderr
        status = command("resomap", "status", cwd=there).stdout
        assert f"{CELL}  running on {older.data.tags['resomap.host']} (run {older.info.run_id[:8]}" in status
        assert "0 failed" in status
        # Aggregates leave the cell out; named as a target it begins, and gives way.
        config = small_config(images, **settings)
        listed = snakemake("-n", directory=there, config=config)
        assert listed.stderr.count(f"1 training running elsewhere, left out here: {CELL} is running on") == 1
        assert "rule train:" not in listed.stdout
        aggregate = snakemake(directory=there, config=config)
        assert aggregate.returncode == 0, aggregate.stderr
        assert log(there).count("attempt 1") == 1
        direct = snakemake(f"{STEM}.done", directory=there, config=config)
        assert direct.returncode == 1
        assert f"{CELL} is a target, so it begins here too" in direct.stderr
        assert re.search(rf"{CELL} is running on .*, and ended here", direct.stderr)
        assert "0 completed, 0 failed" in direct.stderr
        assert first.poll() is None
    finally:
        end(first)
    assert older.info.run_id in {run.info.run_id for run in runs(server, name) if run.info.status == "RUNNING"}
    note = Elsewhere.read(there / f"{STEM}.elsewhere.json")
    assert note is not None
    assert study.fingerprint(study.find(CELL)) == note.fingerprint


@pytest.mark.slow
def test_what_was_finished_elsewhere_meanwhile_is_taken_over(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    name, here, there = "meanwhile", tmp_path / "here", tmp_path / "there"
    settings: dict[str, Any] = {"experiment": name, "training": {**LONG, "epochs": 60}, "tracking": tracking}
    for place in (here, there):
        study_in(place, **settings)
    assert trainer(CELL, here).wait(timeout=120) == 0
    second = trainer(CELL, there)  # as if it had been planned before the other one was complete
    assert second.wait(timeout=120) == 0
    mine, theirs = (read_json(place / f"{STEM}.done") for place in (here, there))
    assert (theirs["origin"], theirs["run_id"], theirs["metrics"]) == ("tracker", mine["run_id"], mine["metrics"])
    assert "its marker is taken over" in log(there)
    assert not (there / f"{STEM}.progress.json").exists()
    complete, superseded = wait_for(
        lambda: (
            (found := sorted(runs(server, name), key=lambda run: run.info.status))[-1].info.status == "KILLED"
            and len(found) == 2
            and found
        )
    )
    assert superseded.data.tags["resomap.superseded"] == complete.info.run_id == mine["run_id"]
    # Who does not want to ask the tracker trains.
    study_in(there, **settings, skip_completed=False)
    (there / f"{STEM}.done").unlink()
    assert trainer(CELL, there).wait(timeout=120) == 0
    assert read_json(there / f"{STEM}.done")["origin"] == "local"


@pytest.mark.slow
def test_two_that_begin_at_the_same_moment_agree(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    name, places = "same-moment", (tmp_path / "one", tmp_path / "two")
    for place in places:
        study_in(place, experiment=name, training=LONG, tracking=tracking)
    both = [trainer(CELL, place) for place in places]
    try:
        wait_for(lambda: any(process.poll() is not None for process in both))
        time.sleep(3)
        ended = [process.poll() for process in both]
        assert sorted(ended, key=str) == [69, None]
        older, younger = runs(server, name)
        wait_for(lambda: {run.info.status for run in runs(server, name)} == {"RUNNING", "KILLED"})
        assert {run.info.run_id: run.info.status for run in runs(server, name)}[older.info.run_id] == "RUNNING"
        kept = places[ended.index(None)]
        assert read_events(kept / f"{STEM}.journal.jsonl")[0][0]["time"] == older.info.start_time
        assert younger.info.start_time >= older.info.start_time
    finally:
        for process in both:
            end(process)


@pytest.mark.slow
def test_a_training_that_was_complete_before_it_could_say_so_is_told_by_sync(
    server: str, tracking: dict[str, Any], study_in: Callable[..., Study], tmp_path: Path
) -> None:
    name, here = "last-word", tmp_path / "here"
    study_in(here, experiment=name, training={"epochs": 1}, tracking={**tracking, "drain_seconds": 0})
    assert trainer(CELL, here).wait(timeout=120) == 0
    journal = here / f"{STEM}.journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"kind": "end"' not in line))  # killed just before
    (here / f"{STEM}.journal.sent.json").unlink(missing_ok=True)
    (here / f"{STEM}.done").unlink()
    MlflowClient(tracking_uri=server).delete_experiment(
        MlflowClient(tracking_uri=server).get_experiment_by_name(name).experiment_id
    ) if runs(server, name) else None
    assert trainer(CELL, here).wait(timeout=120) == 0  # the marker comes back from its copy
    study_in(here, experiment=f"{name}-2", training={"epochs": 1}, tracking=tracking)
    first = command("resomap", "sync", cwd=here)
    assert first.returncode == 0, first.stderr
    second = command("resomap", "sync", cwd=here)
    assert second.returncode == 0, second.stderr
    (run,) = runs(server, f"{name}-2")
    assert (run.info.status, run.data.tags["resomap.complete"]) == ("FINISHED", "1")
