"""Heartbeats and durations while clocks disagree, jump, or were never set."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, environment_with, small_config, snakemake, tool
from mlflow import MlflowClient
from test_resume_faults import age
from test_tracker import make_run
from waiting import wait_for

from resomap.cells import liveness
from resomap.cells.progress import Progress, is_alive
from resomap.cells.study import Study
from resomap.core.files import read_json, write_json
from resomap.machine.processes import process_lives, process_start


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    as_new_process()


def as_new_process() -> None:
    """Forget what this process saw; what is on disk stays."""
    liveness._sightings.clear()


def record() -> Path:
    return next(liveness.DIRECTORY.glob("*.json"))


def test_of_the_past_the_age_decides_and_nothing_is_written() -> None:
    assert liveness.is_fresh("a", time.time() - 100, 120)
    assert not liveness.is_fresh("a", time.time() - 121, 120)
    assert not liveness.DIRECTORY.exists()


@pytest.mark.parametrize("again", [lambda: None, as_new_process])
def test_of_the_future_it_counts_for_one_interval_and_then_only_if_it_moved(again: Callable[[], None]) -> None:
    beat = time.time() + 3600
    assert liveness.is_fresh("a", beat, 0.3)
    again()
    assert liveness.is_fresh("a", beat, 30)
    time.sleep(0.35)
    again()
    assert not liveness.is_fresh("a", beat, 0.3)
    assert not liveness.is_fresh("a", beat - 15, 0.3), "an older note of the same process is no sign of life"
    assert liveness.is_fresh("a", beat + 15, 0.3)
    assert liveness.is_fresh("b", beat, 0.3), "each process for itself"


def test_a_heartbeat_far_in_the_future_never_counts() -> None:
    assert not liveness.is_fresh("a", time.time() + 86400, 120)
    assert not liveness.is_fresh("a", float("inf"), 120)
    assert not liveness.is_fresh("a", float("nan"), 120)


@pytest.mark.parametrize("content", [[], {"a": None}, {"a": {"heartbeat": "x", "at": 1, "boot": ""}}])
def test_a_damaged_record_is_made_anew(content: object) -> None:
    beat = time.time() + 3600
    liveness.is_fresh("a", beat, 120)
    write_json(record(), content)
    as_new_process()
    assert liveness.is_fresh("a", beat, 120)
    assert read_json(record())["a"]["heartbeat"] == beat


def test_after_a_start_of_the_machine_the_interval_begins_again_and_old_entries_go() -> None:
    beat = time.time() + 3600
    liveness.is_fresh("a", beat, 120)
    content = read_json(record())
    entry = {**content["a"], "boot": "another", "at": 0.0}
    write_json(record(), {"a": entry, "past": {**entry, "heartbeat": time.time() - 1}})
    as_new_process()
    assert liveness.is_fresh("a", beat, 120)
    assert list(read_json(record())) == ["a"]


def test_a_training_whose_machine_is_ahead_is_not_shown_as_running_for_ever() -> None:
    progress = Progress("a@64", host="elsewhere", pid=4711, heartbeat=time.time() + 3600)
    assert is_alive(progress)
    age(record(), 121)
    as_new_process()
    assert not is_alive(progress)


def test_a_process_is_the_same_one_after_its_clock_was_set() -> None:
    """By the wall clock of now its start has moved along, and it looked like a younger one of the same number."""
    own = process_start(os.getpid())
    assert own is not None
    before = time.time() - 72 * 3600
    assert process_lives(os.getpid(), before, own)
    assert not process_lives(os.getpid(), before)
    assert not process_lives(os.getpid(), time.time(), own + 1)


def test_a_training_of_the_original_does_not_run_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress("a@64", started_at=time.time(), process_start=process_start(os.getpid()))
    assert is_alive(progress)
    there = subprocess.Popen(["sleep", "60"], cwd="/")
    try:
        assert not is_alive(Progress("a@64", pid=there.pid, process_start=process_start(there.pid)))
    finally:
        there.kill()
        there.wait()


@pytest.mark.slow
def test_a_run_whose_heartbeat_is_ahead_is_left_out_for_one_interval(server: str, images: Path, tmp_path: Path) -> None:
    """`snakemake -n` says so at once each time, and never waits."""
    config = small_config(images, experiment="a clock ahead", tracking={"uri": server, "drain_seconds": 0})
    study = Study.open(config)
    cell = study.cells()[0]
    ahead = {"heartbeat": round(time.time()) + 3600, "complete": None}
    run = make_run(MlflowClient(server), study, cell, "RUNNING", **ahead)
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert f"{MODEL}@32 is running on b (run {run[:8]}, heartbeat by a clock that is" in listed.stderr
    assert "rule train:" not in listed.stdout
    age(record(), 121)
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert "trained elsewhere" not in listed.stderr
    assert listed.stdout.count("rule train:") == 1


@pytest.mark.slow
def test_a_clock_that_is_set_during_a_run_changes_no_duration(
    images: Path, tmp_path: Path, clock_library: Path
) -> None:
    """72 hours ahead from the moment at which the training begins: the summary said "72 h 1 min"."""
    clock = tmp_path / "ahead"
    clock.write_text("0")
    config = small_config(images, training={"epochs": 6, "early_stopping": {"enabled": False}})
    (tmp_path / "study.yaml").write_text(str(config))
    environment = environment_with(LD_PRELOAD=str(clock_library), CLOCK_AHEAD=str(clock))
    words = ["--cores", "1", f"results/{MODEL}/32.done", "--directory", str(tmp_path)]
    process = subprocess.Popen(
        [tool("snakemake"), *words, "--configfile", str(tmp_path / "study.yaml")],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    progress = tmp_path / "results" / MODEL / "32.progress.json"
    wait_for(progress.exists)
    clock.write_text(str(72 * 3600))
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert re.search(r"1 completed, 0 failed, 0 remaining \(\d+ (s|min)\)", said), said
    assert re.search(rf"{MODEL}@32 done in \d+ (s|min),", said), said
    assert read_json(tmp_path / "results" / MODEL / "32.done")["cost"]["train_seconds"] < 600
