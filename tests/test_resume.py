"""A training that was interrupted ends with the same bits as one that was not. Real processes, real signals."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, RESOLUTION, command, small_config, trainer
from endings import End, assert_same_bits, last, undisturbed
from waiting import wait_for

from resomap.cells.study import Study
from resomap.core.files import read_json

CELL = f"{MODEL}@{RESOLUTION}"
TRAINING = {"epochs": 4, "batch_size": 8, "dropout": 0.2, "augment": {"scale": 0.6}, "ema_decay": 0.9}
SLOW = {**TRAINING, "epochs": 60, "early_stopping": {"enabled": False}}


@pytest.fixture(scope="module")
def uninterrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> End:
    return undisturbed(tmp_path_factory.mktemp("whole"), small_config(images, training=TRAINING))


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", ["always", "never"])
def test_kill_9_at_random_moments(
    uninterrupted: End, study_in: Callable[..., Study], tmp_path: Path, on_disk: str
) -> None:
    """Also where images are decoded anew for each batch: the whole one read them from the disk."""
    directory, chance = tmp_path / "killed", random.Random(7)
    study = study_in(directory, training=TRAINING, checkpoints={"every_minutes": 0}, data={"on_disk": on_disk})
    assert study.cells()[0].marker.parent.parent.joinpath("data/32/train.npy").exists() == (on_disk == "always")
    for _ in range(4):
        process = trainer(CELL, directory)
        started = time.time()
        wait_for(lambda since=started: last(directory).exists() and last(directory).stat().st_mtime > since)
        time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:  # it was faster than the kill
            break
    else:
        assert trainer(CELL, directory, "--threads", "2").wait(timeout=120) == 0
    end = End.of(directory)
    assert_same_bits(uninterrupted, end)
    assert end.marker["exact"] is True
    assert "going on at epoch" in (directory / "results" / MODEL / f"{RESOLUTION}.log").read_text()
    assert not list(last(directory).parent.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [16, 32])
def test_kill_9_with_two_threads_and_mixed_precision(
    resolution: int, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    """At 16 px bf16 kernels of oneDNN are wrong on some processors: there each attempt takes float32, and says so."""
    ends, settings = [], {"resolutions": [resolution], "training": {**TRAINING, "amp": "bf16"}}
    for name, kills in (("whole", 0), ("killed", 1)):
        directory = tmp_path / name
        study_in(directory, checkpoints={"every_minutes": 0 if kills else 5}, **settings)
        for _ in range(kills):
            process, started = trainer(f"{MODEL}@{resolution}", directory, "--threads", "2"), time.time()
            place = last(directory, resolution)
            wait_for(lambda at=place, since=started: at.exists() and at.stat().st_mtime > since)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert trainer(f"{MODEL}@{resolution}", directory, "--threads", "2").wait(timeout=120) == 0
        ends.append(End.of(directory, resolution))
        log = (directory / "results" / MODEL / f"{resolution}.log").read_text()
        assert ends[-1].marker["precision"] == ("bfloat16" if ends[-1].marker["fallback"] is None else "float32")
        assert log.count("computed in float32") <= 1
    assert_same_bits(*ends)
    assert [end.marker["exact"] for end in ends] == [True, True]
    assert ends[0].marker["fallback"] == ends[1].marker["fallback"]
    assert all(torch.isfinite(values).all() for end in ends for values in end.weights.values())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_signal_saves_and_the_same_command_goes_on(
    number: signal.Signals, uninterrupted: End, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    directory = tmp_path / "signalled"
    study_in(directory, training=TRAINING)
    process = trainer(CELL, directory)
    progress = directory / "results" / MODEL / f"{RESOLUTION}.progress.json"
    wait_for(lambda: (read_json(progress) or {}).get("step", 0) > 0 or (read_json(progress) or {}).get("epoch", 0) > 0)
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert code == 75
    assert f"{number.name} at epoch" in process.stderr.read()  # type: ignore[union-attr]
    assert last(directory).exists()
    assert trainer(CELL, directory).wait(timeout=120) == 0
    assert_same_bits(uninterrupted, End.of(directory))


@pytest.mark.slow
def test_without_grace_the_checkpoint_before_stands(
    uninterrupted: End, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    directory = tmp_path / "hurried"
    study_in(directory, training=TRAINING, checkpoints={"grace_seconds": 1e-6})
    process = trainer(CELL, directory)
    progress = directory / "results" / MODEL / f"{RESOLUTION}.progress.json"
    wait_for(lambda: (read_json(progress) or {}).get("step", 0) > 0 or (read_json(progress) or {}).get("epoch", 0) > 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert "no time was left to save" in process.stderr.read()  # type: ignore[union-attr]
    assert trainer(CELL, directory).wait(timeout=120) == 0
    assert_same_bits(uninterrupted, End.of(directory))


def test_a_second_kind_of_signal_ends_at_once(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "impatient"
    study_in(directory, training=SLOW)
    process = trainer(CELL, directory)
    wait_for((directory / "results" / MODEL / f"{RESOLUTION}.progress.json").exists)
    process.send_signal(signal.SIGSTOP)  # both signals arrive before the next step
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) in (128 + signal.SIGTERM, 128 + signal.SIGUSR1)


@pytest.mark.slow
def test_a_second_trainer_waits_and_sees_the_cell_as_done(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "two"
    study_in(directory, training=SLOW)
    first = trainer(CELL, directory)
    wait_for((directory / "results" / MODEL / f"{RESOLUTION}.progress.json").exists)
    refused = command("resomap", "forget", CELL, cwd=directory)
    assert refused.returncode == 2
    assert f"is being trained by process {first.pid}" in refused.stderr
    second = trainer(CELL, directory)
    assert (first.wait(timeout=120), second.wait(timeout=120)) == (0, 0)
    log = (directory / "results" / MODEL / f"{RESOLUTION}.log").read_text()
    assert f"is being trained by process {first.pid}" in log
    assert f"{CELL} is done already" in log
    assert log.count("epoch 60/60") == 1


def test_a_lost_marker_comes_back_without_training(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "lost"
    study_in(directory, training=TRAINING)
    assert trainer(CELL, directory).wait(timeout=120) == 0
    marker = directory / "results" / MODEL / f"{RESOLUTION}.done"
    before = marker.read_bytes()
    marker.unlink()
    assert trainer(CELL, directory).wait(timeout=60) == 0
    assert marker.read_bytes() == before


@pytest.mark.slow
def test_other_settings_set_the_checkpoint_aside_and_find_it_again(
    study_in: Callable[..., Study], tmp_path: Path
) -> None:
    directory = tmp_path / "changed"
    log = directory / "results" / MODEL / f"{RESOLUTION}.log"

    def train(**training: Any) -> str:
        study = study_in(directory, training={**TRAINING, **training})
        assert trainer(CELL, directory).wait(timeout=120) == 0
        return study.fingerprint(study.cells()[0])

    first = train()
    weights = End.of(directory).weights
    second = train(learning_rate=0.01)
    assert first != second
    assert f"the training {first} is set aside" in log.read_text()
    epochs = log.read_text().count("epoch 4/4")
    assert train() == first
    assert log.read_text().count("epoch 4/4") == epochs  # nothing was trained
    assert read_json(directory / "results" / MODEL / f"{RESOLUTION}.done")["fingerprint"] == first
    assert weights  # of the first training, still to be found below set-aside or in place
    places = list(last(directory).parent.rglob("final.pt"))
    assert len(places) == 2


def test_a_forgotten_cell_trains_anew_and_nothing_is_lost(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "forgotten"
    study_in(directory, training={**TRAINING, "epochs": 1})
    assert trainer(CELL, directory).wait(timeout=120) == 0
    uid = End.of(directory).marker["uid"]
    done = command("resomap", "forget", CELL, cwd=directory)
    assert done.returncode == 0, done.stderr
    assert not list((directory / "results" / MODEL).glob("*.*"))
    assert len(list(directory.rglob("best.pt"))) == 1
    assert len(list(directory.rglob("32.predictions.npz"))) == 1
    assert "nothing of" in command("resomap", "forget", CELL, cwd=directory).stdout
    assert trainer(CELL, directory).wait(timeout=120) == 0
    assert End.of(directory).marker["uid"] != uid
    wrong = command("resomap", "forget", "vgg11-320", cwd=directory)
    assert wrong.returncode == 2
    assert "write MODEL@RESOLUTION" in wrong.stderr


def test_a_gpu_that_was_given_but_is_not_there_is_an_error(study_in: Callable[..., Study], tmp_path: Path) -> None:
    directory = tmp_path / "no-gpu"
    study_in(directory, device="auto")
    done = command("resomap", "train", CELL, cwd=directory, CUDA_VISIBLE_DEVICES="0")
    assert done.returncode == 2
    assert "was given a GPU (CUDA_VISIBLE_DEVICES=0), but torch" in done.stderr
    assert "Traceback" not in done.stderr
    failure = read_json(directory / "results" / MODEL / f"{RESOLUTION}.failed.json")
    assert failure["resume"].startswith("snakemake --rerun-incomplete results/")
