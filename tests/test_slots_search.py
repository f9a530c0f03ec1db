"""`gpu.per_device: auto`: of as many trainings as fit into the memory, those that were measured as fastest."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, environment_with, make_study, small_config, snakemake
from test_gpus import BIND, answer
from test_slots import GB, MANIFEST, MARKERS, planned

from resomap.cells import slots_choice
from resomap.cells.study import Study
from resomap.core.files import read_json, write_json
from resomap.planning.slots import in_the_middle
from resomap.train.slots_search import Question, ask

TRIED = "trainings at a time of test_resnet@32 are tried on"


@pytest.mark.parametrize(
    ("rates", "most", "chosen"),
    [
        ({1: 100.0, 2: 150.0, 3: 180.0, 4: 185.0}, 4, 3),  # the fourth gains less than a twentieth
        ({1: 100.0, 2: 150.0, 3: 180.0, 4: 185.0}, 2, 2),
        ({1: 100.0, 2: 104.0}, 2, 1),
        ({1: 100.0, 2: 60.0, 3: 200.0}, 3, 3),
        ({1: 100.0}, 1, 1),
    ],
)
def test_the_fewest_that_are_as_fast_as_any(rates: dict[int, float], most: int, chosen: int) -> None:
    assert slots_choice.fastest(rates, most) == chosen


def test_rates_count_for_the_settings_and_the_grid_that_they_were_measured_for(
    study_in: Callable[..., Study],
) -> None:
    study = study_in(resolutions=[32, 48])
    small, large = study.cells()
    assert slots_choice.read(study, "cpu", 2, 2) is None
    slots_choice.write(study, "cpu", large, 2, {"rates": {1: 10.0, 2: 12.5}, "device": "a CPU"})
    assert slots_choice.read(study, "cpu", 2, 2) == {1: 10.0, 2: 12.5}
    assert slots_choice.read(study, "cpu", 4, 2) is None  # cores
    assert slots_choice.read(study, "cpu", 2, 3) is None  # never tried
    assert slots_choice.read(study, "cuda", 2, 2) is None
    here = Path.cwd()
    for changes in ({"training": {"batch_size": 16}}, {"resolutions": [small.resolution]}, {"gpu": {"mps": True}}):
        other = study_in(here, **{"resolutions": [32, 48], **changes})
        assert slots_choice.read(other, "cpu", 2, 2) is None, changes
    path = slots_choice.path_of("cpu")
    content = read_json(path)
    for damage in ({**content, "rates": {"1": 10.0, "2": 99.0}}, {"rates": []}, []):
        write_json(path, damage)
        assert slots_choice.read(study, "cpu", 2, 2) is None


def test_the_cell_in_the_middle_has_half_of_all_operations_below_it(study_in: Callable[..., Study]) -> None:
    cells = study_in(resolutions=[32, 48, 64, 96]).cells()  # 1, 2.25, 4 and 9 parts of operations
    assert in_the_middle(cells).resolution == 96
    assert in_the_middle(cells[:3]).resolution == 64
    assert in_the_middle(cells[:2] * 4).resolution == 48
    assert in_the_middle(cells[:1]).resolution == 32


def test_rates_are_those_of_real_steps_in_processes(images: Path) -> None:
    config = Study.open(small_config(images)).config.model_dump()
    found = ask(Question(config, MODEL, 32, "cpu", cores=2, most=2, seconds=0.3, rounds=1))
    assert set(found["rates"]) == {"1", "2"}
    assert all(rate > 0 for rate in found["rates"].values())
    # Twenty times the pixels take several times as long.
    slower = ask(Question(config, MODEL, 160, "cpu", cores=2, most=1, seconds=0.3, rounds=1))
    assert slower["rates"]["1"] < found["rates"]["1"] / 2


def test_a_measurement_that_fails_gives_its_reason(images: Path) -> None:
    config = {**Study.open(small_config(images)).config.model_dump(), "device": "cuda"}
    found = ask(Question(config, MODEL, 32, "cpu", cores=2, most=2))
    assert set(found) == {"reason"}
    assert "finds no CUDA device" in found["reason"]


def shared(images: Path, **changes: Any) -> dict[str, Any]:
    return small_config(images, seeds=[0, 1], gpu={"per_device": "auto"}, **changes)


@pytest.mark.parametrize(("rates", "threads"), [({1: 10.0, 2: 15.0}, "1 1"), ({1: 10.0, 2: 10.1}, "2 1")])
def test_a_plan_goes_by_the_rates(rates: dict[int, float], threads: str, images: Path, tmp_path: Path) -> None:
    config = shared(images)
    study = make_study(tmp_path, config)
    words = ("--cores", "2", *MARKERS)
    assert planned(tmp_path, config, *words)["train"] == ["1 1", "1 1"]  # by the memory, as nothing is measured
    os.chdir(tmp_path)
    slots_choice.write(study, "cpu", study.cells()[0], 2, {"rates": rates})
    assert planned(tmp_path, config, *words)["train"] == [threads, threads]


@pytest.mark.parametrize("words", [("-n",), ("--summary",), ("--rulegraph",), ("--unlock",), ("--list-rules",)])
def test_calls_that_run_nothing_measure_nothing(words: tuple[str, ...], images: Path, tmp_path: Path) -> None:
    ran = snakemake(*words, "--cores", "2", MARKERS[0], directory=tmp_path, config=shared(images))
    assert ran.returncode == 0, ran.stderr
    assert TRIED not in ran.stderr
    assert not (tmp_path / slots_choice.DIRECTORY).exists()


@pytest.mark.slow
def test_the_first_run_measures_and_later_ones_remember(images: Path, tmp_path: Path) -> None:
    config = shared(images)
    first = snakemake("--cores", "2", MANIFEST, directory=tmp_path, config=config)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count(f"gpu.per_device is auto: 1 to 2 {TRIED} this CPU, once") == 1
    content = read_json(tmp_path / slots_choice.path_of("cpu"))
    rates = {int(number): rate for number, rate in content["rates"].items()}
    chosen = slots_choice.fastest(rates, 2)
    says_so = f"{chosen} trainings at a time share the CPU" in first.stderr
    assert says_so is (chosen > 1)
    again = snakemake("--cores", "2", "--force", MANIFEST, directory=tmp_path, config=config)
    assert again.returncode == 0, again.stderr
    assert TRIED not in again.stderr
    assert read_json(tmp_path / slots_choice.path_of("cpu")) == content
    threads = str(2 // chosen)
    assert planned(tmp_path, config, "--cores", "2", *MARKERS)["train"] == [f"{threads} 1"] * 2


@pytest.mark.parametrize("is_taken", [False, True], ids=["no CUDA", "a GPU that is taken"])
def test_what_cannot_be_measured_is_said_and_the_memory_decides(
    is_taken: bool, gpus: Callable[..., None], images: Path, tmp_path: Path
) -> None:
    gpus(1, memory=80 * GB)
    work = tmp_path / "work"
    work.mkdir()
    pipe = subprocess.PIPE
    other = subprocess.Popen([sys.executable, "-c", BIND], env=environment_with(), stdin=pipe, stdout=pipe, text=True)
    try:
        answer(other)
        if not is_taken:
            other.kill()
            other.wait()
        config = {**shared(images), "device": "auto"}
        ran = snakemake("--cores", "2", "--resources", "gpu=1", MANIFEST, directory=work, config=config)
    finally:
        other.kill()
        other.communicate()
    assert ran.returncode == 0, ran.stderr
    reason = "all 1 visible GPUs are still taken" if is_taken else "finds no CUDA device"
    said = next(line for line in ran.stderr.splitlines() if line.startswith("that was not measured ("))
    assert reason in said
    assert said.endswith("): 2 fit into the memory")
    assert "2 trainings at a time share each GPU, with 1 core each" in ran.stderr
    assert not (work / slots_choice.path_of("cuda")).exists()
