"""Kill -9 at random moments and at every file operation of a save. CI runs a short form; the long one is

pytest tests/test_resume_kills.py --kills 60
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import environment_with, trainer
from endings import End, assert_same_bits
from waiting import wait_for

from resomap.cells.study import Study

HERE = Path(__file__).parent
# Dropout, moving average and random crops; accumulation, mixup and momentum; early stopping and label smoothing.
RECIPES: dict[str, dict[str, Any]] = {
    "test_resnet": {"dropout": 0.2, "ema_decay": 0.9, "augment": {"scale": 0.6, "degrees": 10}},
    "test_efficientnet": {
        "optimizer": "sgd",
        "learning_rate": 0.02,
        "microbatch": 3,
        "augment": {"mixup": 0.4, "erase": 0.3},
    },
    "test_convnext": {
        "label_smoothing": 0.1,
        "early_stopping": {"patience": 2, "warmup_epochs": 2},
        "monitor": "accuracy",
        "class_weights": "balanced",
    },
}


def faulty(
    cell: str, directory: Path, delay: float = 0.0, crash_at: int = 0, **environment: str
) -> "subprocess.Popen[str]":
    words = [
        sys.executable,
        str(HERE / "faulty_trainer.py"),
        str(delay),
        str(crash_at),
        "train",
        cell,
        "--threads",
        "1",
    ]
    return subprocess.Popen(
        words,
        cwd=directory,
        env=environment_with(**environment),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", RECIPES)
def test_killed_at_random_moments(
    model: str, study_in: Callable[..., Study], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kills, chance = max(1, request.config.getoption("kills") // len(RECIPES)), random.Random(model)
    training = {"epochs": 4 + kills, "batch_size": 8, **RECIPES[model]}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, models=[model], training=training)
    assert trainer(f"{model}@32", whole).wait(timeout=600) == 0
    study_in(killed, models=[model], training=training, checkpoints={"every_minutes": 0})
    done = 0
    for number in range(kills):
        # Every other time with a file layer so slow that most of the time is spent in a save.
        process = faulty(f"{model}@32", killed, delay=0.002 * (number % 2))
        began, progress = time.time(), killed / "results" / model / "32.progress.json"
        wait_for(
            lambda p=process, since=began, at=progress: (
                p.poll() is not None or (at.exists() and at.stat().st_mtime > since)
            )
        )
        time.sleep(chance.uniform(0, 1.2))
        process.send_signal(signal.SIGKILL)
        done += process.wait() == -signal.SIGKILL
    threads = "2" if kills % 2 else "1"
    assert trainer(f"{model}@32", killed, "--threads", threads).wait(timeout=600) == 0
    print(f"{model}: {done} of {kills} kills hit a living training")
    assert done >= kills / 2
    end = End.of(killed)
    assert_same_bits(End.of(whole), end)
    assert end.marker["exact"] is True
    assert not list(killed.rglob("checkpoints/**/.*.tmp"))


@pytest.mark.slow
def test_killed_at_any_operation_of_a_save(
    study_in: Callable[..., Study], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model, kills, chance = "test_resnet", request.config.getoption("kills"), random.Random(3)
    training = {"epochs": 2, "batch_size": 8, **RECIPES[model]}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, models=[model], training=training, checkpoints={"every_minutes": 0})
    assert faulty(f"{model}@32", whole, OPERATIONS=str(tmp_path / "operations")).wait(timeout=600) == 0
    save = operations_of_a_save(tmp_path / "operations")
    assert {"write", "link", "replace", "fsync"} <= set(save)
    # The moments at which names change always, the writes between them as many as there is time for.
    renames = [number for number, kind in enumerate(save, start=1) if kind != "write"]
    writes = [number for number, kind in enumerate(save, start=1) if kind == "write"]
    moments = renames + chance.sample(writes, min(kills, len(writes)))
    study_in(killed, models=[model], training=training, checkpoints={"every_minutes": 0})
    assert faulty(f"{model}@32", killed, crash_at=3 * len(save)).wait(timeout=600) == -signal.SIGKILL
    for moment in moments:
        assert faulty(f"{model}@32", killed, crash_at=moment).wait(timeout=600) == -signal.SIGKILL
    assert trainer(f"{model}@32", killed).wait(timeout=600) == 0
    assert_same_bits(End.of(whole), End.of(killed))


def operations_of_a_save(listed: Path) -> list[str]:
    """Kinds of operations of one save that replaces a file: all from behind one rename to last.pt to the next."""
    lines = [line.split() for line in listed.read_text().splitlines()]
    renames = [number for number, (kind, path) in enumerate(lines) if kind == "replace" and path.endswith("/last.pt")]
    return [kind for kind, _ in lines[renames[3] + 1 : renames[4] + 1]]
