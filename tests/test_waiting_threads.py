"""Waiting threads of a training: a short spin unless the user says otherwise, as the OpenMP library itself tells it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MODEL, RESOLUTION, ROOT, environment_with
from endings import End, assert_same_bits
from test_fork_server import _of_a_run, end_servers, servers  # noqa: F401 (a fixture)

from resomap.cells.study import Study
from resomap.core.fork_client import SOCKET_VARIABLE
from resomap.core.waiting_threads import SPIN_COUNT, VARIABLES

CELL = f"{MODEL}@{RESOLUTION}"
LONGER = "40000"


def train(directory: Path, **variables: str) -> set[str]:
    """Train with two threads; returns the spin counts that the OpenMP libraries of the process say they have."""
    inherited = {name: value for name, value in environment_with().items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "resomap", "train", CELL, "--threads", "2"],
        cwd=directory,
        env={**inherited, "OMP_DISPLAY_ENV": "VERBOSE", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return said(done.stderr + (directory / "results" / MODEL / f"{RESOLUTION}.log").read_text())


def said(text: str) -> set[str]:
    return set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", text))


@pytest.mark.slow
def test_threads_spin_shortly_to_the_same_bits_and_a_users_word_counts(
    study_in: Callable[..., Study], tmp_path: Path
) -> None:
    ends = []
    for name, variables, count in (
        ("own", {}, SPIN_COUNT),
        ("longer", {"GOMP_SPINCOUNT": LONGER}, LONGER),
        ("passive", {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ):
        study_in(tmp_path / name, training={"epochs": 2})
        assert train(tmp_path / name, **variables) == {count}, name
        ends.append(End.of(tmp_path / name))
        assert ends[-1].marker["exact"] is True
    for end in ends[1:]:
        assert_same_bits(ends[0], end)


@pytest.mark.slow
@pytest.mark.usefixtures("_of_a_run")
def test_so_does_a_fork_server_and_who_waits_otherwise_trains_itself(
    study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study_in(tmp_path)
    try:
        train(tmp_path)
        server_said = Path(os.environ[SOCKET_VARIABLE]).with_name("log").read_text()
        assert said(server_said) == {SPIN_COUNT}
        assert len(servers(tmp_path)) == 1
        (tmp_path / "results" / MODEL / f"{RESOLUTION}.done").unlink()
        subprocess.run([sys.executable, "-m", "resomap", "forget", CELL], cwd=tmp_path, check=True)
        assert train(tmp_path, OMP_WAIT_POLICY="PASSIVE") == {"0"}
    finally:
        end_servers(tmp_path)


@pytest.mark.slow
def test_the_benchmark_compares_ways_of_the_same_bits() -> None:
    words = ("--busy", "0", "1", "--rounds", "1", "--seconds", "0.2", "--resolution", "32", "--ways", "passive")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loaded", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\d+) \| ([\w ,]+) \| [\d.]+ ", done.stdout, re.MULTILINE)
    assert rows == [("0", "default"), ("0", "passive"), ("1", "default"), ("1", "passive")], done.stdout
    assert "the same weights in all ways" in done.stdout
