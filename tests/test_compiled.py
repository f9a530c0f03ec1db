"""`training.compile`: torch compiles the steps, and all else of a training stays what it is."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import command, trainer
from endings import End, assert_same_bits
from waiting import wait_for

from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.train.attempt import train_cell
from resomap.train.request import Request

MODEL = "test_vit"  # the tiny network that compiles soonest
TRAINING = {"epochs": 3, "batch_size": 8, "compile": True, "dropout": 0.2, "ema_decay": 0.9}


@pytest.mark.slow
def test_kill_9_leaves_the_same_bits_and_plain_names(
    study_in: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))  # the trainings share what is compiled
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, models=[MODEL], training=TRAINING)
    assert trainer(f"{MODEL}@32", whole).wait(timeout=300) == 0
    assert list((tmp_path / "kernels").rglob("*.so")), "nothing was compiled"
    study_in(killed, models=[MODEL], training=TRAINING, checkpoints={"every_minutes": 0})
    process, started = trainer(f"{MODEL}@32", killed), time.time()
    wait_for(
        lambda: any(path.stat().st_mtime > started for path in killed.glob("checkpoints/*/*/32/last.pt")), seconds=300
    )
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    saved = load_sealed(next(killed.glob("checkpoints/*/*/32/last.pt")))
    assert trainer(f"{MODEL}@32", killed).wait(timeout=300) == 0
    assert "going on at epoch" in (killed / "results" / MODEL / "32.log").read_text()
    one, other = End.of(whole), End.of(killed)
    assert_same_bits(one, other)
    assert one.marker["exact"] is other.marker["exact"] is True
    for names in (saved["model"], saved["ema"], one.best, one.weights):
        assert not [name for name in names if "_orig_mod" in name]
    assert saved["environment"]["compiler"] == command("g++", "--version", cwd=tmp_path).stdout.splitlines()[0]


@pytest.mark.parametrize("present", [False, True], ids=["no compiler", "a compiler that fails"])
def test_what_cannot_be_compiled_is_said_in_one_sentence(
    present: bool, study_in: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g++"
    if present:
        path.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'g++ 0.0' || exit 1\n")
        os.chmod(path, 0o755)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", str(path))
    study = study_in(models=[MODEL], training=TRAINING)
    with pytest.raises(PermanentFailure) as failure:
        train_cell(Request(study, study.cells()[0], threads=1, attempt=1, say=lambda _line: None))
    said = str(failure.value)
    assert said.startswith("training.compile is true, and torch cannot compile this network here (")
    assert said.endswith("install a C++ compiler (g++), or set training.compile to false")
    assert "\n" not in said


def test_it_is_part_of_the_fingerprint_and_recorded_steps_are_not(study_in: Callable[..., Study]) -> None:
    def fingerprint(**training: object) -> str:
        study = study_in(training=training)
        return study.fingerprint(study.cells()[0])

    assert fingerprint(compile=False) == fingerprint()
    assert fingerprint(compile=True) != fingerprint()
    assert fingerprint(graphs="auto") == fingerprint()


def test_features_of_a_frozen_network_leave_nothing_to_compile() -> None:
    with pytest.raises(ValueError, match="compile must be false"):
        Training(recipe="linear_probe", compile=True)
