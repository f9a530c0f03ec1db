"""`gpu.mps`: the daemon of NVIDIA's MPS, which a run starts and stops, and trainings marked as not exact."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, ROOT, SIMULATED, environment_with, small_config, snakemake
from waiting import wait_for

from resomap.cells.study import Study
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.machine.mps import BY_MPS, PROGRAM

GB = 10**9
MARKERS = [f"results/{MODEL}/32{suffix}.done" for suffix in ("", ".seed1")]
MANIFEST = "results/data/manifest.json"

# A run's main process, as far as MPS is concerned: it ends with its input.
RUN = """
import os, sys
from resomap.machine.mps import OFFERED, offer_mps
end = offer_mps()
print(os.environ[OFFERED], flush=True)
sys.stdin.read()
end()
"""
# A job of a run: it binds its share of a GPU, and tells by which daemon CUDA will compute.
JOB = """
import os, sys
from fractions import Fraction
from resomap.machine.gpu_lock import bind_gpu, claim_share
from resomap.machine.mps import computes_by_mps
claim_share(Fraction(sys.argv[1]))
bind_gpu(lambda _: None)
print(os.environ.get("CUDA_MPS_PIPE_DIRECTORY"), computes_by_mps())
"""


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program on PATH, and this user's folder of the daemon, which does not exist yet."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / PROGRAM
    program.write_text(f"#!{sys.executable} -SE\n{(SIMULATED / 'mps_control.py').read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / f"resomap-gpus-{os.getuid()}" / "mps"


@pytest.fixture
def run() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        words = [sys.executable, "-c", RUN]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(words, env=environment_with(**environment), stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def pipes_of(process: "subprocess.Popen[str]") -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def ends(process: "subprocess.Popen[str]") -> None:
    process.communicate(timeout=60)
    assert process.returncode == 0


def log_of(folder: Path) -> list[str]:
    """First words of what the daemon noted: started, quit."""
    return [line.split()[0] for line in (folder / "log" / "control.log").read_text().splitlines()]


def daemon_lives(folder: Path) -> bool:
    started = [line for line in (folder / "log" / "control.log").read_text().splitlines() if "started" in line]
    try:
        os.kill(int(started[-1].split()[1]), 0)
    except ProcessLookupError:
        return False
    return True


def test_never_with_deterministic_and_no_fingerprint_depends_on_it(images: Path) -> None:
    with pytest.raises(ResomapError, match=r"gpu\.mps is true, and so is deterministic: by MPS no training is exact"):
        parse_config({"gpu": {"mps": True}, "deterministic": True})
    turns, mps = (Study.open(small_config(images, gpu=gpu)) for gpu in ({}, {"mps": "true", "per_device": 2}))
    assert mps.config.gpu.mps is True
    assert turns.base == mps.base
    assert list(turns.fingerprints().values()) == list(mps.fingerprints().values())


def test_the_last_run_that_uses_the_daemon_stops_it(control: Path, run: Callable[..., "subprocess.Popen[str]"]) -> None:
    first = run(CUDA_VISIBLE_DEVICES="1")
    assert pipes_of(first) == control / "pipe"
    second = run()
    assert pipes_of(second) == control / "pipe"
    ends(first)
    assert log_of(control) == ["started"]
    assert daemon_lives(control)
    ends(second)
    assert log_of(control) == ["started", "quit"]
    wait_for(lambda: not daemon_lives(control))
    # It serves all GPUs: which of them a client uses is that one's own word.
    assert (control / "log" / "control.log").read_text().splitlines()[0].endswith(" all")


def test_the_daemon_of_a_killed_run_is_used_and_stopped_by_the_next(
    control: Path, run: Callable[..., "subprocess.Popen[str]"]
) -> None:
    killed = run()
    pipes_of(killed)
    killed.kill()
    killed.wait()
    assert daemon_lives(control)
    following = run()
    pipes_of(following)
    ends(following)
    assert log_of(control) == ["started", "quit"]


def test_a_daemon_that_somebody_else_started_is_used_and_left_alone(
    control: Path, run: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    theirs = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path), "CUDA_MPS_LOG_DIRECTORY": str(tmp_path)}
    subprocess.run([PROGRAM, "-d"], env=environment_with(**theirs), check=True)
    wait_for((tmp_path / "control.log").exists)
    try:
        process = run(**theirs)
        assert pipes_of(process) == tmp_path
        ends(process)
        assert not control.exists()
        assert "quit" not in (tmp_path / "control.log").read_text()
    finally:
        subprocess.run([PROGRAM], input="quit\n", env=environment_with(**theirs), text=True, check=True)


@pytest.mark.usefixtures("control")
@pytest.mark.parametrize(("share", "joins"), [("1/2", True), ("1", False)])
def test_only_a_job_that_shares_its_gpu_computes_by_the_daemon(
    share: str, joins: bool, gpus: Callable[..., None], tmp_path: Path
) -> None:
    """Costs, and trainings that need a whole GPU, have it alone."""
    gpus(1)
    words = [sys.executable, "-c", JOB, share]
    told = subprocess.run(
        words, env=environment_with(RESOMAP_MPS=str(tmp_path)), stdout=subprocess.PIPE, text=True, check=True
    )
    assert told.stdout.split() == ([str(tmp_path), "True"] if joins else ["None", "False"])


def shared(images: Path, **changes: Any) -> dict[str, Any]:
    return small_config(
        images, seeds=[0, 1], device="auto", training={"epochs": 1}, gpu={"per_device": 2, "mps": True}, **changes
    )


@pytest.mark.parametrize("refuses", [False, True], ids=["no program", "a daemon that does not start"])
def test_without_a_daemon_nothing_is_begun_and_one_sentence_names_the_way_out(
    refuses: bool, gpus: Callable[..., None], images: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    gpus(1, memory=80 * GB)
    environment: dict[str, str] = {}
    if refuses:
        request.getfixturevalue("control")
        environment["MPS_REFUSES"] = "1"
    work = tmp_path / "work"
    work.mkdir()
    ran = snakemake(
        "--cores", "2", "--resources", "gpu=1", MANIFEST, directory=work, config=shared(images), **environment
    )
    said = [line for line in ran.stderr.splitlines() if line.startswith("resomap: gpu.mps is true, and ")]
    assert (ran.returncode, len(said)) == (2, 1), ran.stderr
    assert said[0].endswith("or set gpu.mps to false: then trainings share a GPU in turns")
    assert ("(no GPU is supported)" if refuses else f"the program {PROGRAM} is not on PATH") in said[0]
    assert not (work / MANIFEST).exists()


@pytest.mark.parametrize("case", ["one at a time", "on a CPU"])
def test_where_no_trainings_share_a_gpu_no_daemon_is_started(
    case: str, control: Path, gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(1, memory=80 * GB)
    config = shared(images) if case == "one at a time" else {**shared(images), "device": "cpu"}
    work = tmp_path / "work"
    work.mkdir()
    cores = "1" if case == "one at a time" else "2"
    ran = snakemake("--cores", cores, MANIFEST, directory=work, config=config)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("gpu.mps is true, but no trainings share a GPU here: MPS is not started") == 1
    assert not control.exists()


@pytest.mark.slow
def test_trainings_by_mps_say_so_and_the_run_stops_its_daemon(
    control: Path, gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(1, memory=80 * GB)
    work, seen = tmp_path / "work", tmp_path / "seen"
    work.mkdir()
    seen.mkdir()
    environment = {"PYTHONPATH": f"{SIMULATED}:{ROOT}", "SIMULATED_GPUS": str(seen), "SIMULATED_AT_ONCE": "2"}
    words = ("--cores", "2", "--resources", "gpu=1", *MARKERS)
    ran = snakemake(*words, directory=work, config=shared(images), **environment)
    assert ran.returncode == 0, ran.stderr
    assert "2 trainings at a time share each GPU, with 1 core each" in ran.stderr
    assert "they compute at the same time by MPS, so that none of them is exact" in ran.stderr
    assert log_of(control) == ["started", "quit"]
    for marker in MARKERS:
        content = json.loads((work / marker).read_text())
        assert (content["exact"], content["exact_reasons"]) == (False, [BY_MPS])
        assert BY_MPS in (work / marker).with_suffix(".log").read_text()
    # Beside a training with the same settings in turns: MPS makes no other one of it.
    turns = Study.open({**shared(images), "gpu": {}})
    assert content["fingerprint"] == turns.fingerprint(turns.cells()[1])
