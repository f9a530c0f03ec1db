"""Cost of a model: counts against published figures, times and memory against runs whose cost is known."""

import csv
import gc
import itertools
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import MODEL, ROOT, command, draw_images, small_config, snakemake
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resomap.cells.measurement import Measurement, class_count
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.compute.memory import own_bytes
from resomap.config import parse_config
from resomap.config.schema import DEFAULT_MODELS, Cost, Data
from resomap.core.files import read_json, write_json
from resomap.cost import peak_memory, session, timing
from resomap.cost.best_batch import find_best_batch
from resomap.cost.cost_table import COLUMNS, write_table
from resomap.cost.forward_pass import EagerPass, ready_network
from resomap.cost.session import measure_together, reasons_of
from resomap.cost.timing import Quartiles, timed_runs
from resomap.models.build import construct
from resomap.models.operations import Operations, count_operations, parameter_count, weights_bytes
from resomap.models.survey import entry_of

CPU = torch.device("cpu")
PLAIN = Execution(device=Device(CPU, "CPU"), precision=None, channels_last=True)
PAGE = ROOT / "docs" / "cost.md"
# timm's results/benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv (pt110 of the same for mobilenetv2_100):
# millions of activations at 224 px and 1000 classes.
ACTIVATIONS = {
    "vgg11": 7.44,
    "vgg16": 13.56,
    "resnet18": 2.48,
    "resnet50": 11.11,
    "mobilenet_v2": 6.68,
    "mobilenetv4_conv_small": 1.97,
    "efficientnet_b0": 6.75,
    "convnext_tiny": 13.44,
}


def counted(model: str, resolution: int = 224, device: str = "meta") -> tuple[nn.Module, Operations]:
    with torch.device(device):
        network = construct(entry_of(model), resolution, 1000)
    return network, count_operations(network, resolution)


# Counts


@pytest.mark.parametrize("model", [*DEFAULT_MODELS, "swin_t"])
def test_counts_are_the_published_ones(model: str) -> None:
    network, operations = counted(model)
    if model == "mobilenetv4_conv_small":
        # timm counts batch normalisation too, two operations an element: 0.1899 of its 0.19 GMACs.
        assert parameter_count(network) == pytest.approx(3.77e6, rel=0.01)
        assert operations.flops / 2e9 + 2 * operations.activations / 1e9 == pytest.approx(0.19, rel=0.01)
    else:
        published = torchvision.models.get_model_weights(model)["DEFAULT"].meta
        assert parameter_count(network) == published["num_params"]
        assert operations.flops / 2e9 == pytest.approx(published["_ops"], rel=0.01)
    if model in ACTIVATIONS:
        assert operations.activations / 1e6 == pytest.approx(ACTIVATIONS[model], rel=0.01)


@pytest.mark.parametrize(("resolution", "gmacs"), [(256, 0.25), (320, 0.39)])
def test_mobilenetv4_at_the_other_sizes_that_timm_publishes(resolution: int, gmacs: float) -> None:
    _, operations = counted("mobilenetv4_conv_small", resolution)
    assert round(operations.flops / 2e9 + 2 * operations.activations / 1e9, 2) == gmacs


def test_attention_is_counted_on_a_cpu_as_published() -> None:
    """Its fast path there hides a third of the operations from PyTorch's counter."""
    published = torchvision.models.get_model_weights("vit_b_16")["DEFAULT"].meta["_ops"]
    network, operations = counted("vit_b_16", device="cpu")
    assert operations.flops / 2e9 == pytest.approx(published, rel=0.01)
    assert operations == count_operations(network.to("meta"), 224)
    assert torch.backends.mha.get_fastpath_enabled()


def test_operations_worked_out_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5))
    operations = count_operations(network, 4)
    assert operations.flops == 2 * (16 * 8 * 3 * 9 + 8 * 16 * 5)
    assert operations.activations == 16 * 8 + 5
    assert parameter_count(network) == 3 * 9 * 8 + 8 + 8 * 16 * 5 + 5


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v2", "mobilenetv4_conv_small", "efficientnet_b0"])
def test_flops_grow_with_the_pixels_and_parameters_do_not(model: str) -> None:
    small, at_160 = counted(model, 160)
    large, at_320 = counted(model, 320)
    assert at_320.flops / at_160.flops == pytest.approx(4, rel=0.03)
    assert at_320.activations / at_160.activations == pytest.approx(4, rel=0.03)
    assert parameter_count(small) == parameter_count(large)


def test_counting_leaves_the_mode_as_it_was() -> None:
    network = construct(entry_of(MODEL), 32, 2).train()
    count_operations(network, 32)
    assert network.training


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v2"])
def test_size_of_the_weights_is_that_of_their_file(model: str, tmp_path: Path) -> None:
    network = construct(entry_of(model), 224, 1000)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    size = weights_bytes(network)
    # The name of the file is in it, padded to whole blocks.
    assert size == pytest.approx((tmp_path / "weights.pt").stat().st_size, rel=0.01)
    published = torchvision.models.get_model_weights(model)["DEFAULT"].meta["_file_size"]
    assert size / 2**20 == pytest.approx(published, rel=0.01)


# Time and memory


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=50))
def test_quartiles_are_those_of_numpy(values: list[float]) -> None:
    found = Quartiles.of(values)
    assert found.runs == len(values)
    assert [found.q1, found.median, found.q3] == pytest.approx(np.percentile(values, [25, 50, 75]).tolist())
    rate = found.rate(8)
    assert rate.q1 <= rate.median <= rate.q3
    assert rate.median == pytest.approx(8 / found.median)


def test_a_slow_first_run_is_warm_up_and_is_not_timed() -> None:
    lasts = iter([0.5])
    times = Quartiles.of(timed_runs(lambda: time.sleep(next(lasts, 0.01)), CPU, 0.4, 5))
    assert 0.01 <= times.q1 <= times.median <= times.q3 < 0.4
    assert 6 <= times.runs <= 40


class SimulatedClock:
    """A clock that moves only by what runs take, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def run(self, lasts: Iterator[float]) -> None:
        self.now += next(lasts)


def test_steady_runs_end_early_and_unsteady_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock()
    monkeypatch.setattr(timing, "time", clock)

    def timed(*lasts: float, steady_after: int | None = 20) -> list[float]:
        each = itertools.cycle(lasts)
        return timed_runs(lambda: clock.run(each), CPU, 3.0, 5, steady_after=steady_after)

    assert len(timed(0.01)) == pytest.approx(30, abs=2)  # looked at every tenth of the time
    assert len(timed(0.1)) == pytest.approx(21, abs=2)
    assert sum(timed(0.002, 0.02)) >= 3.0
    assert sum(timed(0.01, steady_after=None)) >= 3.0
    assert len(timed(1.0)) == 5  # too slow for so many


def test_a_long_run_is_timed_as_often_as_asked_for() -> None:
    started = time.monotonic()
    assert len(timed_runs(lambda: time.sleep(0.05), CPU, 0.01, 4)) == 4
    assert time.monotonic() - started >= 0.25  # and warmed up once


def device_that(seconds: Callable[[int], float], holds: int = 10**9) -> Callable[[int], Any]:
    """A device whose batches take times that are known; above `holds` images its memory ends."""
    return lambda batch: Quartiles.of([seconds(batch)]) if batch <= holds else "memory"


@pytest.mark.parametrize(
    ("seconds", "holds", "cost", "size", "limit"),
    [
        (lambda batch: max(0.016, batch * 0.001), 10**9, {}, 16, "time"),  # 16 images fill it
        (lambda batch: batch * 0.001, 10**9, {}, 1, "time"),  # a CPU: no gain at all
        (lambda batch: 0.01, 24, {}, 16, "memory"),
        (lambda batch: 0.01, 10**9, {"largest_batch": 100}, 64, "largest_batch"),
        (lambda batch: 0.1 * batch**0.5, 10**9, {"seconds": 2.5}, 2, "time"),
        # The second does not pay, the eighth does.
        (lambda batch: batch * (0.001 if batch < 8 else 0.0002), 10**9, {"largest_batch": 64}, 8, "largest_batch"),
    ],
)
def test_best_batch(seconds: Callable[[int], float], holds: int, cost: dict[str, Any], size: int, limit: str) -> None:
    timed = device_that(seconds, holds)
    found = find_best_batch(timed, timed(1), Cost(**cost))
    assert (found.size, found.limit) == (size, limit)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no resident memory on this system")
def test_memory_of_a_known_pass() -> None:
    """64 channels of 512 x 512 in float32 are 64 MiB; the input is held already and counts as told."""
    images = torch.randn(1, 64, 128, 128)
    run = partial(nn.Upsample(scale_factor=4), images)
    run()
    peak = peak_memory.peak_memory_bytes(run, CPU, images.nbytes)
    assert peak is not None
    assert peak - images.nbytes == pytest.approx(64 * 2**20, rel=0.1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no resident memory on this system")
def test_memory_that_an_earlier_pass_freed_hides_nothing() -> None:
    """Blocks of this size stay with the allocator once they are freed, so the next pass would seem to need none."""

    def run() -> object:
        return [torch.ones(2**18) for _ in range(40)]  # 1 MiB each

    torch.ones(30 * 2**18)  # freed, it raises the size below which glibc keeps blocks
    run()
    peak = peak_memory.peak_memory_bytes(run, CPU, 0)
    assert peak == pytest.approx(40 * 2**20, rel=0.1)


# A measurement


@pytest.fixture
def quick_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path) -> Callable[..., Study]:
    """A study whose figures take a fraction of a second each, in a fresh working directory."""

    def make(**changes: Any) -> Study:
        monkeypatch.chdir(tmp_path)
        cost = {"seconds": 0.1, **changes.pop("cost", {})}
        return Study.open(small_config(images, cost=cost, **changes))

    return make


def measured(study: Study, model: str, resolution: int, memory_bytes: int = 10**10) -> dict[str, Any]:
    measurement = Measurement(model, resolution, "cpu")
    write_json(measurement.path, measure_together([measurement], study, 2, 1, memory_bytes)[measurement])
    content = measurement.read(measurement.settings(study, 2))
    assert content is not None
    return content


def test_a_measurement_has_every_figure(quick_study: Callable[..., Study]) -> None:
    study = quick_study()
    found = measured(study, MODEL, 32)
    assert set(found) == {
        *COLUMNS,
        "schema",
        "settings",
        "environment",
        "load_average",
        "other_programs_cores",
        "reference",
        "others",
    }
    assert found["reasons"] == {}
    assert [name for name in COLUMNS if found[name] is None] == []
    assert found["latency_ms_q1"] <= found["latency_ms_median"] <= found["latency_ms_q3"]
    assert found["flops"] == counted_for(MODEL, 32, 2)
    assert found["peak_memory_bytes_batch_1"] > found["weights_bytes"] * 0.9
    assert (found["runtime"], found["threads"], found["precision"]) == ("onnxruntime", 1, "float32")
    assert found["file_bytes"] == pytest.approx(found["weights_bytes"], rel=0.1)
    json.loads(Measurement(MODEL, 32, "cpu").path.read_text(), parse_constant=pytest.fail)


def counted_for(model: str, resolution: int, classes: int) -> int:
    return count_operations(construct(entry_of(model), resolution, classes), resolution).flops


def test_cost_grows_with_the_pixels(quick_study: Callable[..., Study]) -> None:
    study = quick_study(resolutions=[64, 256], cost={"largest_batch": 1})
    small, large = (measured(study, MODEL, resolution) for resolution in (64, 256))
    assert large["params"] == small["params"]
    assert large["flops"] == pytest.approx(16 * small["flops"], rel=0.05)
    assert large["activations"] == pytest.approx(16 * small["activations"], rel=0.05)
    assert large["peak_memory_bytes_batch_1"] > small["peak_memory_bytes_batch_1"]


def test_latency_of_a_real_network_grows_with_the_pixels() -> None:
    """Four times the pixels. The lowest of the lower quartiles, as a busy machine only ever adds time."""
    torch.set_num_threads(1)
    network = PLAIN.place(ready_network(construct(entry_of("resnet18"), 256, 2), 64))
    lowest = {128: math.inf, 256: math.inf}
    for _ in range(3):
        for resolution, before in lowest.items():
            run = EagerPass(Inference(network, PLAIN), resolution).on(1)
            lowest[resolution] = min(before, Quartiles.of(timed_runs(run, CPU, 0.3, 5)).q1)
    assert 1.5 < lowest[256] / lowest[128] < 10


class Operators(TorchDispatchMode):
    """Notes each operator that torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))


def test_nothing_but_the_network_is_timed() -> None:
    """No copy of the images before it, no softmax behind it."""
    network = PLAIN.place(ready_network(construct(entry_of("resnet18"), 64, 2), 64))
    run = EagerPass(Inference(network, PLAIN), 64).on(2)
    images = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), Operators() as wanted:
        network(images)
    with Operators() as timed:
        run()
    assert timed.names == wanted.names
    assert len(wanted.names) > 50


def test_statistics_of_random_weights_keep_values_in_range() -> None:
    """Without them 10^-13 comes out of efficientnet_b0, and less out of a deeper one."""
    torch.manual_seed(0)
    network = ready_network(construct(entry_of("efficientnet_b0"), 64, 10), 64)
    assert not network.training
    with torch.no_grad():
        scores = network(torch.randn(1, 3, 64, 64))
    assert 1e-4 < scores.abs().max() < 1e4


def test_settings_of_the_measuring_have_their_effect(quick_study: Callable[..., Study]) -> None:
    cost = {"seconds": 0.0001, "least_runs": 11, "largest_batch": 1, "runtimes": ["torch"], "precisions": ["bf16"]}
    found = measured(quick_study(cost=cost, training={"channels_last": False}), MODEL, 32)
    assert found["latency_runs"] == 11
    assert (found["best_batch"], found["best_batch_limit"]) == (1, "largest_batch")
    assert (found["runtime"], found["precision"], found["channels_last"]) == ("torch eager", "bfloat16", False)
    assert found["peak_memory_bytes_best_batch"] == found["peak_memory_bytes_batch_1"]
    longer = measured(quick_study(cost={"seconds": 0.5, "largest_batch": 1}), MODEL, 32)
    assert longer["latency_runs"] > 11


def test_no_batch_that_a_cpu_has_no_memory_for_is_tried(quick_study: Callable[..., Study]) -> None:
    found = measured(quick_study(), MODEL, 32, memory_bytes=1000)
    assert (found["best_batch"], found["best_batch_limit"]) == (1, "memory")


def test_a_network_that_does_not_run_is_an_entry_with_a_reason(quick_study: Callable[..., Study]) -> None:
    """Planning refuses the pair beforehand; a measurement on its own must not stop the table either."""
    found = measured(quick_study(), "vgg11", 16)
    assert found["params"] > 100_000_000
    assert found["latency_ms_median"] is found["flops"] is found["best_batch"] is None
    assert re.search("output size is too small", found["reasons"]["model"], re.IGNORECASE)


SHORT_OF_MEMORY = """
import resource, sys
from resomap.cli import main
import resomap.cost.session
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 100 * 2**20,) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit is told from Linux's /proc")
def test_a_machine_without_the_memory_leaves_a_reason_and_the_table_goes_on(
    quick_study: Callable[..., Study], tmp_path: Path
) -> None:
    """The system really refuses: 100 MiB are left to the process, and an activation alone is larger."""
    study = quick_study(resolutions=[3072])
    study.save(Path("study.json"))
    words = ("cost", f"{MODEL}@3072", "--device", "cpu", "--classes", "2", "--threads", "1", "--study", "study.json")
    finished = command(sys.executable, "-c", SHORT_OF_MEMORY, *words, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert f"resomap: {MODEL}@3072 on cpu: no model: out of memory" in finished.stderr
    measurement = Measurement(MODEL, 3072, "cpu")
    content = measurement.read(measurement.settings(study, 2))
    assert content is not None
    assert content["params"] > 0
    assert content["latency_ms_median"] is None
    assert content["reasons"]["model"].startswith("out of memory (")
    write_table(study, 2, Path("costs.csv"))
    assert "out of memory" in Path("costs.csv").read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_measurement_on_a_gpu(quick_study: Callable[..., Study]) -> None:
    measurement, study = Measurement("resnet18", 64, "cuda"), quick_study(device="cuda", models=["resnet18"])
    content = measure_together([measurement], study, 2, 1, 10**10)[measurement]
    assert reasons_of(measurement, content) == []
    write_json(measurement.path, content)
    found = read_json(measurement.path)
    assert [name for name in COLUMNS if found[name] is None] == []
    assert (found["device"], found["memory_method"]) == (torch.cuda.get_device_name(0), "allocated")
    assert (found["runtime"], found["precision"]) == ("torch cuda graph", "float16")
    assert found["weights_bytes"] < found["peak_memory_bytes_batch_1"] < found["peak_memory_bytes_best_batch"]


def test_a_gpu_that_is_not_there_is_an_error(quick_study: Callable[..., Study], tmp_path: Path) -> None:
    quick_study().save(Path("study.json"))
    words = ("resomap", "cost", f"{MODEL}@32", "--device", "cuda", "--classes", "2", "--study", "study.json")
    finished = command(*words, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert finished.returncode == 2
    assert "finds no CUDA device" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "results").exists()


# Which settings count


def test_settings_hold_what_figures_depend_on_and_nothing_else(quick_study: Callable[..., Study]) -> None:
    def settings(**changes: Any) -> dict[str, Any]:
        return Measurement(MODEL, 32, "cpu").settings(quick_study(**changes), 2)

    plain = settings()
    assert settings(training={"learning_rate": 0.5, "epochs": 1}, seeds=[3, 4]) == plain
    for change in (
        {"deterministic": True},
        {"cost": {"least_runs": 7}},
        {"cost": {"runtimes": ["openvino"]}},
        {"cost": {"precisions": ["int8"]}},
        {"cost": {"threads": 1}},
    ):
        assert settings(**change) != plain
    # The memory layout is that of torch alone.
    assert settings(training={"channels_last": False}) == plain
    of_torch = {"cost": {"runtimes": ["torch"]}}
    assert settings(**of_torch, training={"channels_last": False}) != settings(**of_torch)


def test_classes_are_counted_without_opening_an_image(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("a", "b", "c"):
            (tmp_path / split / label).mkdir(parents=True)
            (tmp_path / split / label / "1.png").write_bytes(b"no image")
        (tmp_path / split / "empty").mkdir()
        (tmp_path / split / "notes").mkdir()
        (tmp_path / split / "notes" / "read.txt").write_text("no image")
    assert class_count(Data(source=str(tmp_path))) == 3
    assert class_count(Data()) == 2


def test_planning_imports_nothing_heavy() -> None:
    heavy = "[name for name in ('torch', 'timm', 'numpy', 'PIL', 'mlflow') if name in sys.modules]"
    code = f"import sys, resomap.planning.rules.cost; print({heavy})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# The workflow


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "results" / "costs.csv").open() as stream:
        return list(csv.DictReader(stream))


def planned(directory: Path, config: dict[str, Any], *words: str) -> int:
    """Return how many measurements Snakemake would make."""
    listed = snakemake("-n", *(words or ("results/costs.csv",)), directory=directory, config=config)
    assert listed.returncode == 0, listed.stderr
    return len(re.findall(r"^rule cost:", listed.stdout + listed.stderr, re.MULTILINE))


@pytest.mark.slow
def test_table_without_images_or_training_and_what_measures_it_anew(images: Path, tmp_path: Path) -> None:
    config = small_config(images, resolutions=[32, 48], cost={"seconds": 0.1, "least_runs": 3})
    finished = snakemake("results/costs.csv", "--cores", "2", directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    table = rows(tmp_path)
    assert [(row["model"], row["resolution"], row["threads"], row["classes"]) for row in table] == [
        (MODEL, "32", "2", "2"),
        (MODEL, "48", "2", "2"),
    ]
    assert tuple(table[0]) == COLUMNS
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"cost", "costs.csv", "logs"}
    assert not (tmp_path / "checkpoints").exists()

    assert planned(tmp_path, config) == 0
    assert planned(tmp_path, {**config, "training": {**config["training"], "learning_rate": 0.5}}) == 0
    assert planned(tmp_path, {**config, "cost": {**config["cost"], "threads": 1}}) == 2
    assert planned(tmp_path, {**config, "resolutions": [32, 48, 64]}) == 1
    draw_images(tmp_path / "three", 4)
    (tmp_path / "three" / "across").rename(tmp_path / "three" / "other")
    draw_images(tmp_path / "three", 4)
    assert planned(tmp_path, {**config, "data": {"source": str(tmp_path / "three")}}) == 2

    # A measurement that another version of the settings left, or half a file, is not believed.
    (tmp_path / "results" / "cost" / "cpu" / MODEL / "48.json").write_text('{"schema": 1')
    assert planned(tmp_path, config) == 1


def test_one_measurement_as_a_target(images: Path, tmp_path: Path) -> None:
    config = small_config(images, cost={"seconds": 0.1})
    listed = snakemake("-n", "--cores", "2", f"results/cost/cpu/{MODEL}/40.json", directory=tmp_path, config=config)
    assert "threads: 2" in listed.stdout + listed.stderr
    listed = snakemake("-n", "--cores", "2", f"results/cost/cuda/{MODEL}/40.json", directory=tmp_path, config=config)
    assert "gpu=1" in listed.stdout + listed.stderr
    for target, words in (("cpu/vgg99/32", "vgg99"), ("cpu/vgg11/x", "'x'"), ("cpu/vgg11/16", "vgg11")):
        refused = snakemake("-n", f"results/cost/{target}.json", directory=tmp_path, config=config)
        assert refused.returncode != 0
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr


# The page


def test_the_page_names_every_column() -> None:
    columns = PAGE.read_text().split("## Columns")[1].split("\n## ")[0]
    named = [name for line in columns.splitlines() if line.startswith("| `") for name in line.split("|")[1].split(",")]
    assert tuple(name.strip(" `") for name in named) == COLUMNS


def test_the_pages_table_of_published_values_is_ours() -> None:
    table = [line for line in PAGE.read_text().splitlines() if line.split("|")[1:2] and "G |" in line]
    assert [line.split("|")[1].strip() for line in table] == DEFAULT_MODELS
    for line in table:
        name, params, _, flops, gmacs, published, activations, _ = [cell.strip() for cell in line.split("|")[1:-1]]
        network, operations = counted(name)
        assert params == f"{parameter_count(network):,}"
        assert flops == f"{operations.flops / 1e9:.3f} G"
        assert gmacs == f"{operations.flops / 2e9:.3f}"
        assert activations == f"{operations.activations / 1e6:.2f}"
        if "batch norm" not in published:
            assert float(published) == torchvision.models.get_model_weights(name)["DEFAULT"].meta["_ops"]


def test_defaults_leave_a_minute_for_a_slow_cell() -> None:
    """The longest a search can take: every batch as slow as is allowed, each twice as slow as the one before."""
    cost = parse_config({}).cost
    spent = 0.0

    def slow(batch: int) -> Quartiles:
        nonlocal spent
        seconds = 0.02 * batch**0.9
        spent += 4 * seconds
        return Quartiles.of([seconds])

    best = find_best_batch(slow, slow(1), cost)
    assert best.limit == "time"
    assert spent + (cost.least_runs + 1) * 0.02 * best.size**0.9 < 60


class Holder:
    """A subject of a measurement that holds memory of which its weights say nothing, as ONNX Runtime's arenas."""

    waiting_bytes = 0
    measurement = "holder"

    def __init__(self, size: int, left: list[np.ndarray]) -> None:
        self.size, self.left = size, left
        self.held: list[np.ndarray] = []

    def prepare(self) -> None:
        self.held = [np.ones(self.size, dtype=np.uint8) for _ in range(200_000_000 // self.size)]
        self.left.append(np.ones(50_000, dtype=np.uint8))  # behind it, so that the allocator cannot shrink its heap

    def time_round(self, number: int) -> None:
        assert self.held

    def content(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("size", [200_000_000, 50_000])
def test_networks_wait_together_as_far_as_the_memory_of_the_process_goes(size: int) -> None:
    """Small pieces are freed into the allocator's heap, where the process holds them and takes them again."""
    left: list[np.ndarray] = []
    prepared = (Holder(size, left) for _ in range(7))
    gc.collect()  # else what earlier tests left may be freed meanwhile
    before, sizes, highest = own_bytes(), [], 0
    for group in session._groups(prepared, 300_000_000):  # type: ignore[arg-type]
        sizes.append(len(group))
        highest = max(highest, own_bytes() - before)
        session._measured(group)
    assert sizes == [2, 2, 2, 1]
    assert highest < 550_000_000
