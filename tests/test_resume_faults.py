"""Damaged checkpoints, full disks, other machines and too little memory: what a training makes of each."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, environment_with, make_study, small_config, snakemake, trainer
from endings import End, assert_same_bits, last, undisturbed
from waiting import wait_for

from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed, on_cpu, save_sealed
from resomap.core.files import read_json, write_json

CELL = f"{MODEL}@32"
TRAINING = {"epochs": 3, "batch_size": 8, "dropout": 0.2}
EVERY_STEP = {"every_minutes": 0}


def log(directory: Path) -> str:
    return (directory / "results" / MODEL / "32.log").read_text()


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> End:
    """The end of an undisturbed TRAINING."""
    return undisturbed(tmp_path_factory.mktemp("whole"), small_config(images, training=TRAINING))


@pytest.fixture(scope="module")
def killed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory whose training was killed when it had a last.pt and a previous.pt."""
    directory = tmp_path_factory.mktemp("killed")
    make_study(directory, small_config(images, training=TRAINING, checkpoints=EVERY_STEP))
    process = trainer(CELL, directory)
    wait_for(lambda: last(directory).with_name("previous.pt").exists())
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (directory / "results" / MODEL / "32.done").exists()
    return directory


@pytest.fixture
def interrupted(killed: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(killed, tmp_path / "interrupted", symlinks=True))


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(path.stat().st_size * share))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(1).randrange(len(content))] ^= 8
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    save_sealed(path, {**on_cpu(load_sealed(path)), "format": 99})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut(0), "is torn (0 bytes)"),
        (cut(0.999), "is torn or altered"),
        (flip, "is torn or altered"),
        (of_another_version, "of another training or version of ResoMap; it is set aside as foreign-last.pt"),
    ],
    ids=["empty", "cut", "flipped", "version"],
)
def test_a_damaged_last_falls_back_and_ends_alike(
    damage: Callable[[Path], None], words: str, interrupted: Path, whole: End
) -> None:
    damage(last(interrupted))
    assert trainer(CELL, interrupted).wait(timeout=120) == 0
    assert words in log(interrupted)
    assert f"going on from {last(Path()).with_name('previous.pt')}" in log(interrupted)
    assert_same_bits(whole, End.of(interrupted))


def test_with_both_files_damaged_it_says_so_and_starts_over(interrupted: Path, whole: End) -> None:
    for name in ("last.pt", "previous.pt"):
        cut(0.5)(last(interrupted).with_name(name))
    assert trainer(CELL, interrupted).wait(timeout=120) == 0
    assert log(interrupted).count("it is set aside as damaged-") == 2
    assert "no checkpoint is left: the training starts from the beginning" in log(interrupted)
    assert_same_bits(whole, End.of(interrupted))


def test_another_network_in_the_checkpoint_is_told_by_name_and_shape(interrupted: Path) -> None:
    content = on_cpu(load_sealed(last(interrupted)))
    weights = content["model"]
    renamed = next(name for name in reversed(weights) if name.startswith("fc."))
    weights["old_name"] = weights.pop(renamed)
    reshaped, shape = next((name, list(weights[name].shape)) for name in weights if weights[name].ndim == 4)
    weights[reshaped] = torch.zeros(1, 2, 3, 4)
    save_sealed(last(interrupted), content)
    process = trainer(CELL, interrupted)
    assert process.wait(timeout=120) == 65
    said = process.stderr.read()  # type: ignore[union-attr]
    difference = (
        f"it lacks {renamed}; it has also old_name; of another shape {reshaped} [1, 2, 3, 4] in place of {shape}"
    )
    assert f"holds another network than the one that is built now: {difference}" in said
    assert f"start over with `resomap forget {CELL}`" in said
    assert "Traceback" not in said
    assert last(interrupted).exists()


def test_on_other_instructions_it_goes_on_and_says_that_it_is_not_exact(interrupted: Path) -> None:
    words = [sys.executable, "-m", "resomap", "train", CELL, "--threads", "1"]
    environment = environment_with(ATEN_CPU_CAPABILITY="default")
    done = subprocess.run(words, cwd=interrupted, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    marker = End.of(interrupted).marker
    assert marker["exact"] is False
    assert any(reason.startswith("resumed with instructions DEFAULT after ") for reason in marker["exact_reasons"])


def train_short_of_memory(directory: Path, where: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, str(Path(__file__).parent / "oom_trainer.py"), where, "train", CELL, "--threads", "1"]
    return subprocess.run(words, cwd=directory, env=environment_with(), capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_out_of_memory_in_an_update_is_not_repeated_but_resumed_to_the_bit(
    study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    study_in(tmp_path, training=TRAINING, checkpoints=EVERY_STEP)
    failed = train_short_of_memory(tmp_path, "update")
    assert failed.returncode == 2
    assert "out of memory while the weights were updated at epoch 1, step 3 (" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0
    end = End.of(tmp_path)
    assert end.marker["exact"] is True
    assert_same_bits(whole, end)


@pytest.mark.slow
def test_out_of_memory_halves_the_microbatch_and_is_not_exact(
    study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    study_in(tmp_path, training=TRAINING)
    refused = train_short_of_memory(tmp_path, "0")
    assert refused.returncode == 65
    assert "out of memory with one image at a time (" in refused.stderr
    assert train_short_of_memory(tmp_path, "3").returncode == 0
    end = End.of(tmp_path)
    assert end.marker["exact"] is False
    unchecked, *reasons = end.marker["exact_reasons"]
    assert "not checked: out of memory (" in unchecked  # the self-check met it first
    halved = [reason for reason in reasons if "not checked" not in reason]  # as did the one after the first halving
    assert [reason.rpartition(": ")[2] for reason in halved] == ["4 from there on", "2 from there on"]
    # Every batch was learnt from whole, and once: as many images counted, and a network that is no worse for it.
    ours, theirs = ([line.split(b",") for line in text.history.splitlines()[1:]] for text in (end, whole))
    assert [row[0] for row in ours] == [row[0] for row in theirs]
    assert float(ours[-1][2]) < 0.9 * float(ours[0][2])


def test_a_full_disk_loses_a_save_and_not_the_training(
    small_disk: Path, study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    directory = tmp_path / "study"
    study_in(directory, training={**TRAINING, "epochs": 40, "early_stopping": {"enabled": False}})
    study_in(directory, training=TRAINING, checkpoints=EVERY_STEP)
    (directory / "checkpoints").symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 9_000_000)  # a last.pt of 8 MB does not fit beside it
    assert trainer(CELL, directory).wait(timeout=120) == 0
    assert "could not be saved (No space left on device); training goes on, the one before stands" in log(directory)
    assert_same_bits(whole, End.of(directory))
    assert not list(small_disk.rglob("*.tmp"))


@pytest.mark.slow
def test_without_room_for_the_result_it_fails_in_one_sentence_and_goes_on_later(
    small_disk: Path, study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    directory = tmp_path / "study"
    study_in(directory, training=TRAINING)
    (directory / "checkpoints").symlink_to(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * 11_900_000)
    process = trainer(CELL, directory)
    assert process.wait(timeout=120) == 1
    said = process.stderr.read()  # type: ignore[union-attr]
    assert "is full; make room, and the same command goes on" in said
    assert "Traceback" not in said
    filler.unlink()
    assert trainer(CELL, directory).wait(timeout=120) == 0
    assert_same_bits(whole, End.of(directory))


def test_a_full_disk_under_the_results_keeps_events_for_later(
    small_disk: Path, study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    directory = tmp_path / "study"
    study_in(directory, training=TRAINING)
    journal = small_disk / f"{MODEL}.jsonl"
    (directory / "results" / MODEL).mkdir(parents=True)
    (directory / "results" / MODEL / "32.journal.jsonl").symlink_to(journal)
    filler = small_disk / "filler"
    process = trainer(CELL, directory)
    wait_for(lambda: journal.exists() and b'"kind": "start"' in journal.read_bytes())
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"0" * 12_582_912)
    size = journal.stat().st_size
    assert process.wait(timeout=120) == 0
    assert "the disk is full: the tracker will lack the last events of" in log(directory)
    assert journal.stat().st_size - size <= 4096  # what was left of the file's last page
    assert_same_bits(whole, End.of(directory))


def test_a_grid_that_does_not_fit_the_disk_is_not_begun(small_disk: Path, images: Path) -> None:
    config = small_config(images, models=["vgg11", MODEL])
    listed = snakemake("-n", directory=small_disk, config=config)
    assert listed.returncode == 0, listed.stderr
    assert "disk: at most 7.2 GB of disk (checkpoints that stay 1.0 GB" in listed.stdout
    begun = snakemake(directory=small_disk, config=config)
    assert begun.returncode == 2
    assert "are free at" in begun.stderr
    assert "make room" in begun.stderr
    assert "Traceback" not in begun.stderr
    assert not (small_disk / "results" / "data").exists()


def test_a_holder_on_another_machine_counts_while_its_heart_beats(
    study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study_in(tmp_path, training={**TRAINING, "epochs": 1})
    lock = tmp_path / ".resomap" / "locks" / f"{CELL}.lock"
    lock.parent.mkdir(parents=True)
    write_json(lock, {"host": "elsewhere", "pid": 4711, "heartbeat": time.time() - 40})
    waiting = trainer(CELL, tmp_path)
    path = tmp_path / "results" / MODEL / "32.log"
    wait_for(lambda: path.exists() and "waiting for it to end" in path.read_text())
    assert f"{CELL} is being trained by process 4711 on elsewhere (heartbeat 4" in path.read_text()
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(timeout=60) == 75
    assert "nothing was begun here" in waiting.stderr.read()  # type: ignore[union-attr]
    write_json(lock, {"host": "elsewhere", "pid": 4711, "heartbeat": time.time() - 1000})
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0
    assert lock.read_text().strip("\0") == ""


def test_a_heartbeat_from_the_future_counts_once_and_never_where_it_is_far(
    study_in: Callable[..., Study], tmp_path: Path
) -> None:
    """Its machine's clock is an hour ahead: a cell waited until ours had come so far, heartbeats or none."""
    study_in(tmp_path, training={**TRAINING, "epochs": 1})
    lock, log = tmp_path / ".resomap" / "locks" / f"{CELL}.lock", tmp_path / "results" / MODEL / "32.log"
    lock.parent.mkdir(parents=True)
    held = {"host": "elsewhere", "pid": 4711, "heartbeat": time.time() + 3600}
    write_json(lock, held)
    waiting = trainer(CELL, tmp_path)
    wait_for(lambda: log.exists() and "(heartbeat by a clock that is 60 min ahead); waiting" in log.read_text())
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(timeout=60) == 75
    seen = tmp_path / ".resomap" / "heartbeats" / f"{socket.gethostname()}.json"
    age(seen, 121)  # nothing has moved since then
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0
    assert "waiting" not in log.read_text().split("nothing was begun here")[1]
    (tmp_path / "results" / MODEL / "32.done").unlink()
    write_json(lock, {**held, "heartbeat": time.time() + 86400})
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0


def age(seen: Path, seconds: float) -> None:
    """Let so much time pass since the heartbeats in a record were seen."""
    content = read_json(seen)
    write_json(seen, {name: {**entry, "at": entry["at"] - seconds} for name, entry in content.items()})


def test_the_lock_tells_who_holds_it_and_that_it_lives(study_in: Callable[..., Study], tmp_path: Path) -> None:
    study_in(tmp_path, training={**TRAINING, "epochs": 200, "early_stopping": {"enabled": False}})
    process = trainer(CELL, tmp_path)
    lock = tmp_path / ".resomap" / "locks" / f"{CELL}.lock"
    wait_for(lambda: lock.exists() and lock.stat().st_size > 0)
    note = json.loads(lock.read_text())
    assert (note["host"], note["pid"]) == (socket.gethostname(), process.pid)
    assert time.time() - note["heartbeat"] < 30
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["validation", "last evaluation"])
def test_a_signal_in_an_evaluation_is_obeyed_at_its_next_batch(
    phase: str, study_in: Callable[..., Study], tmp_path: Path, whole: End
) -> None:
    """A wrapper stops the process at the first batch of the phase, so that the signal arrives there."""
    study_in(tmp_path, training=TRAINING)
    script = f"""
import os, signal, sys
import resomap.train.observer as observer
kind = observer.CellObserver
name = "during_validation" if {phase!r} == "validation" else "during_evaluation"
real = getattr(kind, name)
def stopped(self, *state):
    if not os.path.exists("stopped"):
        open("stopped", "w").close()
        os.kill(os.getpid(), signal.SIGTERM)
    real(self, *state)
setattr(kind, name, stopped)
from resomap.cli import main
sys.exit(main(["train", {CELL!r}, "--threads", "1"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment_with(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 75, done.stderr
    position = "epoch 1, step 10" if phase == "validation" else "the last evaluation"
    assert f"SIGTERM at {position}: saved" in done.stderr
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0
    assert log(tmp_path).count("epoch 3/3") == 1
    assert_same_bits(whole, End.of(tmp_path))


@pytest.mark.slow
def test_compressed_checkpoints_are_smaller_exact_and_torchs_own(
    study_in: Callable[..., Study], tmp_path: Path, whole: End, killed: Path
) -> None:
    study_in(
        tmp_path, training=TRAINING, checkpoints={**EVERY_STEP, "compress": True, "keep": ["best", "final", "last"]}
    )
    process = trainer(CELL, tmp_path)
    wait_for(last(tmp_path).exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    assert last(tmp_path).stat().st_size < 0.95 * last(killed).stat().st_size
    assert trainer(CELL, tmp_path).wait(timeout=120) == 0
    assert_same_bits(whole, End.of(tmp_path))
    plain = torch.load(last(tmp_path).with_name("best.pt"), weights_only=True)
    assert all(torch.equal(plain["model"][name], whole.best[name]) for name in whole.best)


@pytest.mark.slow
def test_results_of_other_settings_are_set_aside_and_come_back(images: Path, tmp_path: Path) -> None:
    config = small_config(images, training=TRAINING)
    changed = {**config, "training": {**config["training"], "learning_rate": 0.01}}

    def run(settings: dict[str, Any], *words: str) -> tuple[dict[str, bytes], str]:
        done = snakemake(*words, directory=tmp_path, config=settings)
        assert done.returncode == 0, done.stderr
        names = ("done", "history.csv", "predictions.npz")
        return {name: (tmp_path / "results" / MODEL / f"32.{name}").read_bytes() for name in names}, done.stderr

    first, _ = run(config)
    second, said = run(changed)
    assert "the marker is of other settings, so it trains anew" in said
    assert f"results of other settings are set aside in results/{MODEL}/set-aside/" in said
    assert first["predictions.npz"] != second["predictions.npz"]
    uid = read_json(last(tmp_path).with_name("cell.json"))["uid"]
    back, said = run(config)
    assert "its marker is back" in said
    assert back == first
    assert read_json(last(tmp_path).with_name("cell.json"))["uid"] != uid
    assert run(changed)[0] == second
    assert log(tmp_path).count("epoch 3/3") == 2
