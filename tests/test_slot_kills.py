"""Trainings that share a device, one of them killed with -9: the others notice nothing, and it goes on in its slot."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MODEL, ROOT, SIMULATED, UUIDS, environment_with, make_study, small_config, tool, trainer
from endings import End, assert_same_bits
from waiting import wait_for

SUFFIXES = ["", ".seed1", ".seed2"]
VICTIM = ".seed1"


def config_of(images: Path, **changes: Any) -> dict[str, Any]:
    """Three trainings, with all that a resume must bring back; long enough that a job begins anew beside them."""
    training = {"epochs": 16, "dropout": 0.2, "ema_decay": 0.9, "augment": {"scale": 0.6, "degrees": 10}}
    return small_config(images, seeds=[0, 1, 2], training=training, **changes)


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, End]:
    """Ends of the same trainings, one after the other, alone on the machine's cores."""
    place = tmp_path_factory.mktemp("undisturbed")
    make_study(place, config_of(images))
    for suffix in SUFFIXES:
        assert trainer(f"{MODEL}@32{suffix}", place).wait(timeout=300) == 0
    return {suffix: End.of(place, suffix=suffix) for suffix in SUFFIXES}


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts Snakemake in a folder of its own; what still runs at the end of the test is stopped."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, config: dict[str, Any], *words: str, **environment: str) -> "subprocess.Popen[str]":
        file = directory / "study.yaml"
        file.write_text(yaml.safe_dump(config))
        line = [tool("snakemake"), *words, "--directory", str(directory), "--configfile", str(file)]
        with (tmp_path / "snakemake.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    line,
                    cwd=ROOT,
                    env=environment_with(**environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.xdist_group("neighbours")  # whose undisturbed trainings are made once
@pytest.mark.parametrize("kind", ["GPU", "CPU"])
def test_one_of_three_neighbours_is_killed_and_all_end_with_the_bits_of_undisturbed_trainings(
    kind: str,
    grid: Callable[..., "subprocess.Popen[str]"],
    gpus: Callable[..., None],
    undisturbed: dict[str, End],
    images: Path,
    tmp_path: Path,
) -> None:
    work, seen = tmp_path / "work", tmp_path / "seen"
    work.mkdir()
    seen.mkdir()
    config = config_of(images, gpu={"per_device": 3}, checkpoints={"every_minutes": 0})
    environment: dict[str, str] = {}
    if kind == "GPU":  # on which each has a locked third; the networks compute on the CPU
        gpus(1, memory=80 * 10**9)
        config["device"] = "auto"
        environment = {"PYTHONPATH": f"{SIMULATED}:{ROOT}", "SIMULATED_GPUS": str(seen), "SIMULATED_AT_ONCE": "3"}
    words = ("--cores", "3", "--resources", "gpu=1", *(f"results/{MODEL}/32{suffix}.done" for suffix in SUFFIXES))
    run = grid(work, config, *words, **environment)

    def said(suffix: str) -> str:
        log = work / "results" / MODEL / f"32{suffix}.log"
        return log.read_text() if log.exists() else ""

    def process_of(suffix: str, attempt: int) -> int | None:
        found = re.search(rf"attempt {attempt}, process (\d+)", said(suffix))
        return int(found[1]) if found else None

    def have_saved(*suffixes: str) -> bool:
        assert run.poll() is None, (tmp_path / "snakemake.log").read_text()
        places = (suffix.replace(".", "/") for suffix in suffixes)
        return all((work / f"checkpoints/resnet/{MODEL}/32{place}/last.pt").exists() for place in places)

    wait_for(lambda: have_saved(*SUFFIXES), seconds=180)
    victim = process_of(VICTIM, 1)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    # Its slot is free at once: its next attempt has it while both neighbours still train, and waited for nobody.
    place = f"on GPU {UUIDS[0]}, on 1/3 of it"
    wait_for(lambda: process_of(VICTIM, 2) is not None and (kind == "CPU" or said(VICTIM).count(place) == 2), 180)
    for suffix in SUFFIXES:
        if suffix != VICTIM:
            assert not (work / f"results/{MODEL}/32{suffix}.done").exists()
            neighbour = process_of(suffix, 1)
            assert neighbour is not None
            os.kill(neighbour, 0)  # it lives
    assert run.wait(timeout=300) == 0, (tmp_path / "snakemake.log").read_text()

    for suffix in SUFFIXES:
        end = End.of(work, suffix=suffix)
        assert_same_bits(undisturbed[suffix], end)
        assert end.marker["exact"] is True
        assert end.marker["attempt"] == (2 if suffix == VICTIM else 1)
        assert "waiting" not in said(suffix)
        if kind == "GPU":
            assert said(suffix).count(place) == end.marker["attempt"]
    assert "going on at epoch" in said(VICTIM)
