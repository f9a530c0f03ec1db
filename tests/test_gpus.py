"""Several GPUs on one machine: each job has one to itself, however the devices are named, and nobody keeps one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MODEL, PARTS, ROOT, SIMULATED, UUIDS, environment_with, small_config, snakemake

from resomap.machine.gpus import may_have_gpu

SUFFIXES = ["", ".seed1", ".seed2", ".seed3"]

# What a job does before it imports torch; it says which device it has, and keeps it until its input ends.
BIND = """
import os, sys
from fractions import Fraction
from resomap.machine.gpu_lock import bind_gpu, claim_share
claim_share(Fraction(os.environ.get("SHARE", "1")))
gpu = bind_gpu(lambda sentence: print("#", sentence, flush=True))
print(gpu.handle if gpu else "none", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", BIND],
            env=environment_with(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answer(process: "subprocess.Popen[str]") -> str:
    """The job's next word that is no remark."""
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if not line.startswith("#"))


def visible_gpus(given: str | None, **environment: str) -> list[list[str]]:
    """[handle, identity] of each device that a process finds which has been given these."""
    if given is not None:
        environment["CUDA_VISIBLE_DEVICES"] = given
    code = "import json; from resomap.machine.gpus import visible_gpus;"
    code += "print(json.dumps([[gpu.handle, gpu.identity] for gpu in visible_gpus()]))"
    words = [sys.executable, "-c", code]
    told = subprocess.run(words, env=environment_with(**environment), stdout=subprocess.PIPE, timeout=60, check=True)
    found: list[list[str]] = json.loads(told.stdout)
    return found


def handles(given: str | None) -> list[str]:
    return [handle for handle, _ in visible_gpus(given)]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, UUIDS[:2]),
        ("1", ["1"]),
        ("1,0", ["1", "0"]),
        ("0, 1", ["0", "1"]),
        ("0,0", ["0"]),
        ("0,-1,1", ["0"]),
        ("0,7,1", ["0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        (UUIDS[1], [UUIDS[1]]),
        ("GPU-bbbb,0", ["GPU-bbbb", "0"]),
        (f"{PARTS[0]},{PARTS[1]}", PARTS),
    ],
)
def test_the_devices_that_cuda_would_use_are_found_under_the_names_they_are_given(
    visible: str | None, expected: list[str], gpus: Callable[..., None]
) -> None:
    gpus(2)
    assert handles(visible) == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, [UUIDS[0], *PARTS]), ("1", PARTS), ("1,0", [*PARTS, "0"]), (PARTS[1], [PARTS[1]]), (UUIDS[1], PARTS)],
)
def test_a_divided_gpu_stands_for_its_parts(
    visible: str | None, expected: list[str], gpus: Callable[..., None]
) -> None:
    gpus(2, divided=True)
    assert handles(visible) == expected


@pytest.mark.usefixtures("gpus")
def test_without_a_driver_the_environment_counts_and_in_a_scheduler_an_index_is_of_its_job() -> None:
    assert visible_gpus(None) == []
    assert visible_gpus("0,1") == [["0", "0"], ["1", "1"]]
    assert visible_gpus("0,1", SLURM_JOB_ID="7") == [["0", "job7-0"], ["1", "job7-1"]]
    assert visible_gpus(UUIDS[0], SLURM_JOB_ID="7") == [[UUIDS[0], UUIDS[0]]]


def test_one_device_has_one_user_whatever_it_is_called(
    gpus: Callable[..., None], job: Callable[..., "subprocess.Popen[str]"]
) -> None:
    gpus(2)
    assert answer(job(CUDA_VISIBLE_DEVICES="1")) == "1"
    assert answer(job(CUDA_VISIBLE_DEVICES=f"{UUIDS[1]},GPU-aaaa")) == "GPU-aaaa"
    late = job()  # all devices, and both are taken
    assert late.stdout is not None
    assert "all 2 visible GPUs are taken" in late.stdout.readline()


def test_a_killed_job_frees_its_device_and_a_waiting_one_takes_it(
    gpus: Callable[..., None], job: Callable[..., "subprocess.Popen[str]"]
) -> None:
    gpus(2)
    first, second = job(), job()
    assert sorted([answer(first), answer(second)]) == sorted(UUIDS[:2])
    third = job()
    assert third.stdout is not None
    assert "waiting" in third.stdout.readline()
    second.send_signal(signal.SIGKILL)
    second.wait()
    assert answer(third) in UUIDS[:2]


def is_waiting(process: "subprocess.Popen[str]") -> bool:
    """True once the job says that it waits; False if it has begun."""
    assert process.stdout is not None
    return "waiting" in process.stdout.readline()


def test_shares_of_a_device_are_as_many_as_fit_and_a_killed_job_frees_its_own(
    gpus: Callable[..., None], job: Callable[..., "subprocess.Popen[str]"]
) -> None:
    gpus(1)
    thirds = []
    for _ in range(3):  # one after the other, so that they lie in this order
        thirds.append(job(SHARE="1/3"))
        assert answer(thirds[-1]) == UUIDS[0]
    late, half = job(SHARE="1/3"), job(SHARE="1/2")  # of a run that shares the device in another way
    assert is_waiting(late)
    assert is_waiting(half)
    thirds[0].kill()
    thirds[0].wait()
    assert answer(late) == UUIDS[0]  # a third is not enough for a half
    for each in (late, thirds[1]):
        each.kill()
        each.wait()
    assert answer(half) == UUIDS[0]
    assert thirds[2].poll() is None


def test_who_wants_a_whole_device_waits_for_its_shares_and_nobody_takes_one_meanwhile(
    gpus: Callable[..., None], job: Callable[..., "subprocess.Popen[str]"]
) -> None:
    gpus(1)
    first, second = job(SHARE="1/2"), job(SHARE="1/2")
    assert answer(first) == answer(second) == UUIDS[0]
    whole = job()
    assert is_waiting(whole)
    first.kill()
    first.wait()
    late = job(SHARE="1/2")
    assert is_waiting(late)  # although its half is free
    second.kill()
    second.wait()
    assert answer(whole) == UUIDS[0]
    whole.kill()
    whole.wait()
    assert answer(late) == UUIDS[0]


def test_a_share_is_on_the_first_device_that_has_one_left_and_a_whole_one_is_another(
    gpus: Callable[..., None], job: Callable[..., "subprocess.Popen[str]"]
) -> None:
    gpus(2)
    assert answer(job(SHARE="1/2")) == UUIDS[0]
    assert answer(job()) == UUIDS[1]
    assert answer(job(SHARE="1/2")) == UUIDS[0]


def test_a_child_that_outlives_its_job_keeps_no_device(gpus: Callable[..., None], tmp_path: Path) -> None:
    gpus(1)
    code = (
        "import subprocess; from resomap.machine.gpu_lock import bind_gpu; print(bind_gpu().handle);"
        "print(subprocess.Popen(['sleep', '60'], stdout=-3, start_new_session=True).pid, flush=True)"
    )
    told = subprocess.run([sys.executable, "-c", code], env=environment_with(), stdout=subprocess.PIPE, timeout=60)
    child = int(told.stdout.split()[1])
    try:
        again = subprocess.run(
            [sys.executable, "-c", BIND],
            env=environment_with(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert again.stdout.decode().split() == [UUIDS[0]]
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_four_cells_on_four_gpus_run_at_once_each_bound_to_its_own_before_torch_is_imported(
    gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(4)
    work, seen = tmp_path / "work", tmp_path / "seen"
    work.mkdir()
    seen.mkdir()
    config = small_config(images, seeds=[0, 1, 2, 3], device="auto", training={"epochs": 1})
    targets = [f"results/{MODEL}/32{suffix}.done" for suffix in SUFFIXES]
    environment = {"PYTHONPATH": f"{SIMULATED}:{ROOT}", "SIMULATED_GPUS": str(seen), "SIMULATED_AT_ONCE": "4"}
    words = ("--cores", "4", "--resources", "gpu=4", *targets)
    ran = snakemake(*words, directory=work, config=config, **environment)
    assert ran.returncode == 0, ran.stderr
    notes = [json.loads(path.read_text()) for path in seen.glob("*.json")]
    # All four were there before any went on: the simulated torch waits for them.
    assert sorted(note["CUDA_VISIBLE_DEVICES"] for note in notes) == UUIDS
    assert all((work / target).exists() for target in targets)
    log = (work / "results" / MODEL / "32.log").read_text()
    assert "one of 4" in log


@pytest.mark.slow
def test_more_jobs_than_gpus_or_cores_are_told_of(gpus: Callable[..., None], images: Path, tmp_path: Path) -> None:
    gpus(1)
    work, seen = tmp_path / "work", tmp_path / "seen"
    work.mkdir()
    seen.mkdir()
    config = small_config(images, seeds=[0, 1], device="auto", training={"epochs": 1})
    targets = [f"results/{MODEL}/32{suffix}.done" for suffix in SUFFIXES[:2]]
    environment = {"PYTHONPATH": f"{SIMULATED}:{ROOT}", "SIMULATED_GPUS": str(seen)}
    words = ("--cores", "2", "--resources", "gpu=2", *targets)
    ran = snakemake(*words, directory=work, config=config, **environment)
    assert ran.returncode == 0, ran.stderr
    assert "--resources gpu=2, but 1 GPUs are visible: the other jobs wait" in ran.stderr
    notes = sorted((json.loads(path.read_text()) for path in seen.glob("*.json")), key=lambda note: float(note["at"]))
    assert [note["CUDA_VISIBLE_DEVICES"] for note in notes] == [UUIDS[0]] * 2
    logs = [(work / "results" / MODEL / f"32{suffix}.log").read_text() for suffix in SUFFIXES[:2]]
    assert sum("waiting for one" in log for log in logs) == 1


@pytest.mark.skipif(not may_have_gpu(), reason="needs an NVIDIA GPU")
def test_a_real_gpu_is_bound_and_computes(job: Callable[..., "subprocess.Popen[str]"]) -> None:
    code = (
        "from resomap.machine.gpu_lock import bind_gpu; gpu = bind_gpu(); import torch;"
        "print(torch.cuda.device_count(), float(torch.ones(2, device='cuda').sum()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.stdout.split() == ["1", "2.0"], told.stderr
