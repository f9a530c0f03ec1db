"""Trainings that share a device: how many, which of them fit, and that nothing of a result depends on it."""

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, ROOT, SIMULATED, UUIDS, small_config, snakemake

from resomap.cells.study import Study
from resomap.compute import memory
from resomap.compute.memory import Memory, within_limit
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.estimates.device_memory import fits, gpu_bytes, most_trainings
from resomap.machine.gpus import CONTEXT_BYTES, share_bytes

GB = 10**9
MARKERS = [f"results/{MODEL}/32{suffix}.done" for suffix in ("", ".seed1")]
MANIFEST = "results/data/manifest.json"


@pytest.mark.parametrize(
    ("gpu", "sentence"),
    [
        ({"per_device": 0}, "gpu.per_device is 0, and must be a whole number from 1 to 16, or auto"),
        ({"per_device": 17}, "gpu.per_device is 17, and must be a whole number from 1 to 16, or auto"),
        ({"per_device": True}, "gpu.per_device is true, and must be a whole number from 1 to 16, or auto"),
        ({"per_device": "many"}, "gpu.per_device is 'many', and must be a whole number from 1 to 16, or auto"),
        ({"per_gpu": 2}, "per_gpu"),
    ],
)
def test_what_is_refused(gpu: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ResomapError, match=re.escape(sentence)):
        parse_config({"gpu": gpu})


def test_the_number_may_be_text_and_no_fingerprint_depends_on_it(images: Path) -> None:
    alone, shared = (Study.open(small_config(images, gpu=gpu)) for gpu in ({}, {"per_device": "3"}))
    assert (alone.config.gpu.per_device, shared.config.gpu.per_device) == (1, 3)
    assert alone.base == shared.base
    assert list(alone.fingerprints().values()) == list(shared.fingerprints().values())


def test_a_training_fits_where_its_predicted_memory_and_a_context_do(images: Path) -> None:
    study = Study.open(small_config(images, resolutions=[32, 512], training={"batch_size": 64}))
    small, large = study.cells()
    assert gpu_bytes(study, small) < gpu_bytes(study, large)
    enough = 2 * (gpu_bytes(study, large) + CONTEXT_BYTES)
    assert fits(study, large, "cuda", enough + 2, 2)
    assert not fits(study, large, "cuda", enough - 2, 2)
    assert fits(study, small, "cuda", enough - 2, 2)
    # So many that half of the trainings fit, and never more than four.
    assert most_trainings(study, [small, large], "cuda", 10**15, 16) == 4
    assert most_trainings(study, [small, large], "cuda", 10**15, 3) == 3
    assert most_trainings(study, [small, large], "cuda", enough - 2, 16) >= 2
    assert most_trainings(study, [large], "cuda", enough - 2, 16) == 1
    assert most_trainings(study, [small], "cpu", 4 * GB, 16) == 2
    assert most_trainings(study, [], "cuda", 10**15, 16) == 1


def test_a_shares_limit_is_what_a_training_sees_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_bytes(80 * GB, Fraction(1, 4)) == 20 * GB - CONTEXT_BYTES
    assert within_limit(Memory(70, 100), None, 5) == Memory(70, 100)
    assert within_limit(Memory(70, 100), 25, 5) == Memory(20, 25)
    assert within_limit(Memory(10, 100), 25, 5) == Memory(10, 25)  # others have the rest
    assert within_limit(Memory(70, 100), 25, 30) == Memory(0, 25)
    told: list[float] = []
    properties = type("Properties", (), {"total_memory": 10 * GB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _device: told.append(share))
    monkeypatch.setattr(memory, "_limits", {})
    memory.hold_share(torch.device("cuda", 0), Fraction(1))
    memory.hold_share(torch.device("cuda", 0), Fraction(1, 2))
    assert told == [pytest.approx(0.45)]


def planned(directory: Path, config: dict[str, Any], *words: str) -> dict[str, list[str]]:
    """`threads` and `gpu` of each planned job, by its rule."""
    listed = snakemake("-n", *words, directory=directory, config=config)
    assert listed.returncode == 0, listed.stderr
    found: dict[str, list[str]] = {}
    for part in re.split(r"^rule ", listed.stdout + listed.stderr, flags=re.MULTILINE)[1:]:
        job = part.split("\n\n")[0]
        threads, gpu = re.search(r"threads: (\d+)", job), re.search(r"gpu=(\d+)", job)
        numbers = f"{threads[1] if threads else 1} {gpu[1] if gpu else 0}"
        found.setdefault(job.partition(":")[0], []).append(numbers)
    return found


def test_trainings_take_a_share_and_what_needs_a_device_alone_all_of_one(
    gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(1, memory=80 * GB)
    config = small_config(images, seeds=[0, 1], device="auto", gpu={"per_device": 2})
    words = ("--cores", "8", "--resources", "gpu=1", *MARKERS, "results/costs.csv")
    jobs = planned(tmp_path, config, *words)
    assert jobs["train"] == ["4 1", "4 1"]
    assert jobs["cost"] == ["4 2"]
    # Two devices of two shares each; `auto` finds room for four, and a device that is too small for two is not shared.
    assert planned(tmp_path, config, "--cores", "8", "--resources", "gpu=2", *MARKERS)["train"] == ["2 1", "2 1"]
    by_itself = {**config, "gpu": {"per_device": "auto"}}
    assert planned(tmp_path, by_itself, *words)["cost"] == ["2 4"]
    gpus(1, memory=2 * GB)
    assert planned(tmp_path, by_itself, *words)["cost"] == ["8 1"]
    assert planned(tmp_path, config, *words)["train"] == ["8 2", "8 2"]


def test_cores_of_a_cpu_are_shared_in_the_same_way(images: Path, tmp_path: Path) -> None:
    config = small_config(images, seeds=[0, 1], gpu={"per_device": 2})
    jobs = planned(tmp_path, config, "--cores", "4", *MARKERS, "results/costs.csv")
    assert jobs["train"] == ["2 1", "2 1"]
    assert jobs["cost"] == ["4 0"]


def priorities(directory: Path, config: dict[str, Any], *words: str) -> dict[str, str]:
    """Priority of each planned training, by its marker."""
    listed = snakemake("-n", *words, directory=directory, config=config)
    assert listed.returncode == 0, listed.stderr
    found = re.findall(r"^rule train:.*?output: (\S+).*?priority: (\d+)", listed.stdout + listed.stderr, re.M | re.S)
    return dict(found)


def test_the_longest_starts_first_in_slots_too(gpus: Callable[..., None], images: Path, tmp_path: Path) -> None:
    gpus(1, memory=80 * GB)
    config = small_config(images, resolutions=[48, 96, 32], device="auto")
    words = ("--cores", "4", "--resources", "gpu=1", *(f"results/{MODEL}/{size}.done" for size in (32, 48, 96)))
    alone = priorities(tmp_path, config, *words)
    assert sorted(alone, key=lambda marker: -int(alone[marker])) == [
        f"results/{MODEL}/{size}.done" for size in (96, 48, 32)
    ]
    assert priorities(tmp_path, {**config, "gpu": {"per_device": 4}}, *words) == alone


def test_on_a_cluster_a_job_has_its_device_to_itself(gpus: Callable[..., None], images: Path, tmp_path: Path) -> None:
    gpus(1, memory=80 * GB)
    config = small_config(images, device="auto", gpu={"per_device": 4}, slurm={"cpus": 3})
    here, cluster = ("--resources", "gpu=1"), ("--executor", "slurm", "--jobs", "2")
    shares = []
    for words in (here, cluster):
        listed = snakemake("-n", "--cores", "8", *words, MARKERS[0], directory=tmp_path, config=config)
        assert listed.returncode == 0, listed.stderr
        shares += re.findall(r"--threads (\d) .*--share (\d/\d)", listed.stdout + listed.stderr)
    assert shares == [("2", "1/4"), ("3", "1/1")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--cores", "1"), "gpu.per_device is 2, but with --cores 1 one training runs at a time on each GPU"),
        (("--cores", "4", "--resources", "gpu=2"), "2 trainings at a time share each GPU, with 1 core each"),
    ],
)
def test_the_terminal_says_how_devices_are_shared(
    words: tuple[str, ...], sentence: str, gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(2)
    config = small_config(images, device="auto", gpu={"per_device": 2})
    ran = snakemake(*words, MANIFEST, directory=tmp_path, config=config)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count(sentence) == 1


@pytest.mark.slow
def test_two_trainings_run_at_once_on_one_device(gpus: Callable[..., None], images: Path, tmp_path: Path) -> None:
    gpus(1, memory=80 * GB)
    work, seen = tmp_path / "work", tmp_path / "seen"
    work.mkdir()
    seen.mkdir()
    config = small_config(images, seeds=[0, 1], device="auto", training={"epochs": 1}, gpu={"per_device": 2})
    environment = {"PYTHONPATH": f"{SIMULATED}:{ROOT}", "SIMULATED_GPUS": str(seen), "SIMULATED_AT_ONCE": "2"}
    words = ("--cores", "2", "--resources", "gpu=1", *MARKERS)
    ran = snakemake(*words, directory=work, config=config, **environment)
    assert ran.returncode == 0, ran.stderr
    # Both were there before any went on: the simulated torch waits for them.
    notes = [json.loads(path.read_text()) for path in seen.glob("*.json")]
    assert [note["CUDA_VISIBLE_DEVICES"] for note in notes] == [UUIDS[0]] * 2
    logs = [(work / marker).with_suffix(".log").read_text() for marker in MARKERS]
    assert all(f"on GPU {UUIDS[0]}, on 1/2 of it" in log for log in logs)
