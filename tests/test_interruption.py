"""Ctrl-C of a run, once and twice, and `kill -INT` of Snakemake alone: what trains saves, and nothing looks failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import MODEL, ROOT, environment_with, small_config
from waiting import wait_for

from resomap.core.files import read_json
from resomap.train.signals import SignalWatch


def started(directory: Path, images: Path) -> "subprocess.Popen[bytes]":
    """A run in a session of its own, as a terminal has it, in whose training a few steps are done."""
    (directory / "study.yaml").write_text(yaml.safe_dump(small_config(images, training={"epochs": 4000})))
    words = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1"]
    with (directory / "said").open("w") as said:
        process = subprocess.Popen(
            [*words, "--configfile", "study.yaml"],
            cwd=directory,
            env=environment_with(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    progress = directory / "results" / MODEL / "32.progress.json"
    wait_for(lambda: (read_json(progress) or {}).get("epoch", 0) >= 1, every=0.1, process=process)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "kill -INT of Snakemake alone"])
def test_once_it_saves_and_says_where_and_how_to_go_on(how: str, images: Path, tmp_path: Path) -> None:
    process = started(tmp_path, images)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    said = (tmp_path / "said").read_text()
    lines = said.strip().splitlines()
    assert "stopping: what trains saves its checkpoint first (Ctrl-C once more ends it without)" in lines
    assert lines[-3].startswith("Stopped: 0 trainings completed, 1 to go (")
    assert lines[-2].startswith(f"{MODEL}@32 saved at epoch ")
    assert lines[-1].startswith("go on with: snakemake ")
    assert not any(word in said for word in ("Traceback", "failed", "Error", "error"))
    assert list((tmp_path / "checkpoints").rglob("last.pt"))
    assert not any(tmp_path.glob(".snakemake/locks/*.lock"))


@pytest.mark.slow
def test_twice_it_ends_at_once_without_a_traceback(images: Path, tmp_path: Path) -> None:
    process = started(tmp_path, images)
    trainer = read_json(tmp_path / "results" / MODEL / "32.progress.json")["pid"]
    os.kill(trainer, signal.SIGSTOP)  # it does not come to its save
    process.send_signal(signal.SIGINT)
    while "stopping" not in (tmp_path / "said").read_text():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    os.kill(trainer, signal.SIGKILL)
    said = (tmp_path / "said").read_text()
    assert said.strip().splitlines()[-1] == (
        "resomap: ended at once; the same command goes on from the last checkpoints"
    )
    assert "Traceback" not in said


def test_two_signals_of_one_moment_are_one() -> None:
    """A terminal sends Ctrl-C to the training too, to which Snakemake passes it on."""
    with SignalWatch() as watch:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert watch.received is signal.SIGINT
