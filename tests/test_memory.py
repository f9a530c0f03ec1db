"""Memory: the microbatch that is found before the first training, warnings before it ends, what attempts ask for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import MODEL, command, environment_with, small_config, snakemake, trainer
from endings import End, last
from waiting import wait_for

from resomap.cells import microbatch_choice
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.compute.device import is_out_of_memory
from resomap.compute.memory import Memory, MemoryWatch, memory_of, wanted
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.estimates.memory_request import memory_mb

CELL = f"{MODEL}@32"
AUTO = {"epochs": 2, "microbatch": "auto"}


FAULTS = """
import resource, sys, timm, torch
from resomap.compute.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.set_num_threads(1)
model, images = timm.create_model("test_resnet", num_classes=2), torch.zeros(32, 3, 96, 96)
for step in range(15):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    model(images).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
def test_freed_memory_is_kept_and_not_got_anew_page_by_page() -> None:
    def faults(word: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, word], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < faults("give back") / 4


def run(directory: Path, most_images: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A step on a device that is too small."""
    script = str(Path(__file__).parent / "oom_trainer.py")
    return subprocess.run(
        [sys.executable, script, most_images, *words, "--threads", "1"],
        cwd=directory,
        env=environment_with(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def find(directory: Path, most_images: str) -> dict[str, Any]:
    """Return what the step finds where no more than so many images fit."""
    found = run(directory, most_images, "microbatch", MODEL, "--classes", "2")
    assert found.returncode == 0, found.stderr
    return read_json(directory / microbatch_choice.path_of(MODEL))


class TestAuto:
    @pytest.mark.slow
    def test_what_fits_is_what_the_training_takes_and_keeps(
        self, study_in: Callable[..., Study], tmp_path: Path
    ) -> None:
        given = tmp_path / "given"
        study_in(given, training={"epochs": 2, "microbatch": 2})
        assert trainer(CELL, given).wait(timeout=120) == 0
        directory = tmp_path / "auto"
        study_in(directory, training=AUTO, checkpoints={"every_minutes": 0})
        assert find(directory, "3")["microbatch"] == 2
        process = trainer(CELL, directory)
        wait_for(lambda: last(directory).exists())
        process.terminate()
        process.wait(timeout=60)
        assert load_sealed(last(directory))["microbatch"] == 2
        # The number is the training's from its first step on, whatever is found later.
        microbatch_file = directory / microbatch_choice.path_of(MODEL)
        microbatch_file.unlink()
        assert trainer(CELL, directory).wait(timeout=120) == 0
        ours, theirs = End.of(directory), End.of(given)
        assert ours.marker["microbatch"] == theirs.marker["microbatch"] == 2
        assert ours.marker["exact"] is True
        assert ours.history == theirs.history
        assert all(torch.equal(tensor, theirs.weights[name]) for name, tensor in ours.weights.items())

    def test_it_is_tried_at_the_largest_resolution_and_then_below(
        self, study_in: Callable[..., Study], tmp_path: Path
    ) -> None:
        study = study_in(tmp_path, resolutions=[32, 64], training=AUTO)
        found = find(tmp_path, "8")
        assert (found["microbatch"], found["fits_at"], found["largest"]) == (8, 64, 64)
        assert [tried["images"] for tried in found["tried"]] == [8]
        assert microbatch_choice.read(study, MODEL) == 8
        assert microbatch_choice.read(study_in(tmp_path, resolutions=[32], training=AUTO), MODEL) == 8
        larger = study_in(tmp_path, resolutions=[32, 96], training=AUTO)
        assert microbatch_choice.read(larger, MODEL) is None
        with pytest.raises(ResomapError, match=f"`snakemake results/microbatch/{MODEL}.json` finds it"):
            microbatch_choice.require(larger, larger.cells()[0])
        assert microbatch_choice.read(study_in(tmp_path, training={**AUTO, "amp": "bf16"}), MODEL) is None

    @pytest.mark.slow
    def test_where_one_image_is_too_much_the_cell_fails_for_good(
        self, study_in: Callable[..., Study], tmp_path: Path
    ) -> None:
        study_in(tmp_path, training=AUTO)
        found = find(tmp_path, "0")
        assert (found["microbatch"], found["fits_at"]) == (1, None)
        assert [tried["images"] for tried in found["tried"]] == [8, 4, 2, 1]
        failed = run(tmp_path, "0", "train", CELL)
        assert failed.returncode == 65
        assert "out of memory with one image at a time (" in failed.stderr
        failure = read_json(tmp_path / f"results/{MODEL}/32.failed.json")
        assert failure["permanent"] is True
        assert "GiB are free" in failure["reason"]

    @pytest.mark.slow
    def test_a_real_limit_halves_it_and_says_what_was_needed(
        self, study_in: Callable[..., Study], tmp_path: Path
    ) -> None:
        study_in(tmp_path, resolutions=[256], training={**AUTO, "batch_size": 64})
        words = ("resomap", "microbatch", MODEL, "--classes", "2", "--threads", "1", "--memory-mb")
        sizes = []
        for memory in ("8000", "1100"):
            done = command(*words, memory, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            content = read_json(tmp_path / microbatch_choice.path_of(MODEL))
            sizes.append(content["microbatch"])
        assert sizes[0] == 64
        assert 1 <= sizes[1] <= 32
        assert all("of 1.0 GiB are free" in tried["reason"] for tried in content["tried"] if not tried["fits"])

    @pytest.mark.slow
    def test_the_workflow_finds_it_once_a_model(self, images: Path, tmp_path: Path) -> None:
        config = small_config(images, resolutions=[32, 48], training={"epochs": 1, "microbatch": "auto"})
        markers = [f"results/{MODEL}/{res}.done" for res in (32, 48)]
        finished = snakemake("--cores", "2", *markers, directory=tmp_path, config=config)
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.count(f"{MODEL}: 8 of 8 images a forward pass") == 1
        assert read_json(tmp_path / microbatch_choice.path_of(MODEL))["fits_at"] == 48
        assert {read_json(tmp_path / marker)["microbatch"] for marker in markers} == {8}
        # A number in place of the word is another setting, and the word on a clean clone is the same one.
        assert Study.open(config).base == read_json(tmp_path / markers[0])["base"]

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
    def test_a_gpu_with_little_memory(self, study_in: Callable[..., Study], tmp_path: Path) -> None:
        from resomap.train.microbatch_search import find_microbatch

        study = study_in(tmp_path, device="cuda", resolutions=[256], training={**AUTO, "batch_size": 256})
        torch.cuda.set_per_process_memory_fraction(2**30 / torch.cuda.mem_get_info()[1])
        try:
            find_microbatch(study, MODEL, 2, 1, 0, print)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        assert 1 < (microbatch_choice.read(study, MODEL) or 0) < 256


class TestWatch:
    def test_short_memory_is_told_once_while_the_training_goes_on(
        self, study_in: Callable[..., Study], tmp_path: Path
    ) -> None:
        study_in(tmp_path, training={"epochs": 3})
        assert run(tmp_path, "low", "train", CELL).returncode == 0
        log = (tmp_path / f"results/{MODEL}/32.log").read_text()
        assert log.count("memory gets short: 1.3 of 64.0 GiB are free") == 1
        assert End.of(tmp_path).marker["exact"] is True

    def test_it_is_told_again_only_after_there_was_room(self) -> None:
        said: list[str] = []
        readings = iter([50, 4, 3, 7, 4, 12, 2])
        watch = MemoryWatch(lambda: Memory(next(readings), 100), said.append)
        for told in (0, 1, 1, 1, 1, 1, 2):
            watch.look()
            assert len(said) == told

    def test_of_a_gpu_what_torch_keeps_for_reuse_is_free(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("mem_get_info", (10, 100)), ("memory_reserved", 60), ("memory_allocated", 45)):
            monkeypatch.setattr(torch.cuda, name, lambda _device, value=value: value)
        assert memory_of(torch.device("cuda", 0)) == Memory(25, 100)

    def test_what_an_allocation_lacked(self) -> None:
        memory = Memory(2**30, 2**31)
        with pytest.raises(RuntimeError) as raised:
            torch.empty(2**46, dtype=torch.uint8)
        assert is_out_of_memory(raised.value)
        assert wanted(raised.value, memory) == "65536.000 GiB more were needed; 1.0 of 2.0 GiB are free"
        on_gpu = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")
        assert wanted(on_gpu, memory) == "2.50 GiB more were needed; 1.0 of 2.0 GiB are free"
        assert wanted(MemoryError(), memory) == "1.0 of 2.0 GiB are free"
        assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
        assert not is_out_of_memory(RuntimeError("shape mismatch"))


class TestMainMemory:
    def test_attempts_ask_for_more_up_to_a_limit(self, images: Path) -> None:
        study = Study.open(small_config(images, models=["vgg16"], resolutions=[224]))
        cell = study.cells()[0]
        asked = [memory_mb(study, cell, "cuda", attempt) for attempt in range(1, 7)]
        assert asked[1] == pytest.approx(1.5 * asked[0], abs=1)
        assert asked[4] == asked[5] == pytest.approx(4 * asked[0], abs=4)

    def test_it_goes_by_weights_and_on_a_cpu_by_images(self, images: Path) -> None:
        study = Study.open(small_config(images, models=["vgg16", "resnet18"], resolutions=[224, 512]))
        on_gpu = {cell.name: memory_mb(study, cell, "cuda") for cell in study.cells()}
        assert on_gpu["vgg16@224"] == on_gpu["vgg16@512"] > on_gpu["resnet18@224"] + 2000
        on_cpu = {cell.name: memory_mb(study, cell, "cpu") for cell in study.cells()}
        assert on_cpu["vgg16@512"] > on_cpu["vgg16@224"] > on_gpu["vgg16@224"]
        single = Study.open(small_config(images, models=["vgg16"], training={"microbatch": 1}))
        assert memory_mb(single, study.find("vgg16@512"), "cpu") < on_cpu["vgg16@512"] - 5000

    def test_a_job_never_asks_for_more_than_there_is(self, images: Path, tmp_path: Path) -> None:
        listed = snakemake(
            *("-n", "--resources", "mem_mb=1200", "--cores", "1"), directory=tmp_path, config=small_config(images)
        )
        assert listed.returncode == 0, listed.stderr
        jobs = (listed.stdout + listed.stderr).split("rule train:")[1].split("\n\n")[0]
        assert "mem_mb=1200," in jobs
