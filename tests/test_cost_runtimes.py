"""Cost in the runtimes that will be used: each option, what is never mixed, and figures of earlier versions."""

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MODEL, command, small_config
from PIL import Image

from resomap.cells.measurement import EAGER, Measurement, why_implausible
from resomap.cells.study import Study
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference
from resomap.config import parse_config
from resomap.config.costs import Runtime, Way
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.cost.cost_table import rows
from resomap.cost.end_to_end import EndToEnd, jpeg
from resomap.cost.exported_pass import Exports
from resomap.cost.forward_pass import EagerPass, ready_network
from resomap.cost.peak_memory import peak_memory_bytes
from resomap.cost.session import measure_together
from resomap.cost.threads import Threads
from resomap.data import DATA_DIRECTORY
from resomap.data.decode import decode_bytes, resize
from resomap.data.manifest import Manifest
from resomap.models.build import construct
from resomap.models.survey import entry_of

QUICK = {"seconds": 0.02, "least_runs": 2, "largest_batch": 2}


@pytest.fixture
def study_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path) -> Callable[..., Study]:
    """A study with these keys of `cost`, in a fresh working directory."""

    def make(**cost: Any) -> Study:
        monkeypatch.chdir(tmp_path)
        return Study.open(small_config(images, cost={**QUICK, **cost}))

    return make


def measured(study: Study) -> dict[str, Any]:
    one = Measurement(MODEL, 32, "cpu")
    content = measure_together([one], study, 2, 1, 10**10)[one]
    write_json(one.path, content)
    return content


def test_each_runtime_has_each_of_its_precisions_in_a_row_of_its_own(study_of: Callable[..., Study]) -> None:
    study = study_of(runtimes=["onnxruntime", "openvino", "torch"], precisions=["fp32", "fp16", "int8"])
    content = measured(study)
    assert (content["runtime"], content["precision"]) == ("onnxruntime", "float32")
    found = {(row["runtime"], row["precision"]): row for row in rows(study, 2)}
    every = {(name, precision) for name in ("onnxruntime", "openvino") for precision in ("float32", "float16", "int8")}
    assert set(found) == every | {(EAGER, "float32"), (EAGER, "float16")}
    for row in found.values():
        assert row["latency_ms_median"] > 0
        assert row["throughput_images_per_second_median"] > 0
        assert row["flops"] == content["flops"]
    whole = found["onnxruntime", "float32"]["file_bytes"]
    assert found["onnxruntime", "float16"]["file_bytes"] == pytest.approx(whole / 2, rel=0.1)
    assert found["onnxruntime", "int8"]["file_bytes"] < whole / 2
    for name in ("onnxruntime", "openvino"):
        row = found[name, "float32"]
        assert row["reasons"] == {}
        assert row["file_bytes"] < row["peak_memory_bytes_batch_1"] < row["file_bytes"] + 20e6


def test_the_first_runtime_is_the_one_of_the_map(study_of: Callable[..., Study]) -> None:
    content = measured(study_of(runtimes=["torch", "onnxruntime"]))
    assert content["runtime"] == EAGER
    assert [one["runtime"] for one in content["others"]] == ["onnxruntime"]


def test_threads_are_those_asked_for_and_never_more_than_the_job_has(study_of: Callable[..., Study]) -> None:
    words = ("--device", "cpu", "--classes", "2", "--threads", "2", "--study", "study.json")
    for asked, threads in ((1, 1), (4, 2)):
        study = study_of(threads=asked)
        study.save(Path("study.json"))
        done = command("resomap", "cost", f"{MODEL}@32", *words, cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        content = Measurement(MODEL, 32, "cpu").kept(study, 2)
        assert content is not None
        assert content["threads"] == threads


def test_without_the_runtime_it_is_eager_and_says_why(
    study_of: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that was installed before ONNX Runtime was asked for has none."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    content = measured(study_of())
    assert content["runtime"] == EAGER
    assert content["latency_ms_median"] > 0
    assert "not ranked beside others" in content["reasons"]["onnxruntime fp32"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_memory_is_that_of_one_pass_at_its_batch(runtime: Runtime) -> None:
    """Without what a larger batch before it took: four times the images take about four times the memory."""
    network = ready_network(construct(entry_of("resnet18"), 128, 2), 128)
    workload = Exports(network, 128, Threads(1)).workload(Way(runtime, "fp32"))
    found = {}
    for batch in (4, 1, 4):
        peak = peak_memory_bytes(workload.for_memory(batch), torch.device("cpu"), 0)
        assert peak is not None
        assert found.setdefault(batch, peak) == pytest.approx(peak, rel=0.25)
        workload.on(8)()
    assert 2 < found[4] / found[1] < 6
    assert found[1] > 64 * 64 * 64 * 4, "the first convolution writes 64 channels of 64 x 64"


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ({"runtimes": ["tensorrt"]}, "must be 'onnxruntime', 'openvino' or 'torch'"),
        ({"runtimes": ["torch"], "precisions": ["int8"]}, "names int8, in which torch cannot compute"),
        ({"runtimes": ["torch", "onnxruntime"], "precisions": ["int8"]}, "names torch, which has none of these"),
        ({"runtimes": ["torch", "torch"]}, "more than once"),
        ({"threads": 0}, "must be a whole number of at least 1, or all"),
        ({"threads": True}, "must be a whole number of at least 1, or all"),
    ],
)
def test_what_cannot_be_measured_is_refused(cost: dict[str, Any], words: str) -> None:
    with pytest.raises(ResomapError, match=words):
        parse_config({"cost": cost})


def test_ways_of_each_kind_of_device() -> None:
    def ways(kind: str, **cost: Any) -> list[str]:
        return [way.name for way in parse_config({"cost": cost}).cost.ways(kind)]

    assert (ways("cpu"), ways("cuda")) == (["onnxruntime fp32"], ["torch fp16"])
    assert ways("cuda", runtimes="openvino", precisions="int8") == ["torch fp16"]
    assert ways("cuda", precisions=["bf16", "fp32"]) == ["torch bf16", "torch fp32"]
    assert ways("cpu", runtimes="openvino,onnxruntime") == ["openvino fp32", "onnxruntime fp32"]
    assert ways("cpu", precisions="bf16") == ["torch bf16"]


def test_figures_of_an_earlier_version_stand_as_eager_until_a_runtime_is_asked_for(
    study_of: Callable[..., Study],
) -> None:
    measurement, study = Measurement(MODEL, 32, "cpu"), study_of()
    settings = measurement.eager_settings(study, 2)
    assert settings is not None
    write_json(measurement.path, {"settings": settings, "latency_ms_median": 3.0})
    content = measurement.kept(study, 2)
    assert content is not None
    assert content["runtime"] == EAGER
    assert measurement.read(measurement.settings(study, 2)) is None
    assert measurement.kept(study_of(runtimes=["torch"]), 2) is None
    assert measurement.kept(study_of(threads=1), 2) is None
    assert "runtime" not in json.dumps(read_json(measurement.path))


# From the bytes of an image


def test_the_way_from_bytes_to_a_class_is_that_of_the_training() -> None:
    """Decoded, resized by `data.fit`, normalised; what comes out is the class that the network itself gives."""
    content = jpeg(90, 60)
    assert Image.open(BytesIO(content)).size == (90, 60)
    seen = []

    def classify(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return np.array([[0.1, 0.7, 0.2]])

    assert EndToEnd(90, 60, "border").on(32, classify)() == 1
    pixels = resize(decode_bytes(content).pixels, 32, "border")
    assert np.array_equal(seen[0], (pixels.astype(np.float32) / 255 - 0.5).transpose(2, 0, 1)[None] / 0.5)
    network = ready_network(construct(entry_of(MODEL), 32, 5), 32)
    inference = Inference(
        network, Execution(device=Device(torch.device("cpu"), "CPU"), precision=None, channels_last=True)
    )
    exported = Exports(network, 32, Threads(1)).workload(Way("onnxruntime", "fp32"))
    scores = [one.classifier()(seen[0]) for one in (EagerPass(inference, 32), exported)]
    assert scores[0].shape == (1, 5)
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


def test_the_jpeg_is_as_large_as_the_images_where_they_are_known(study_in: Callable[..., Study]) -> None:
    assert EndToEnd.of(Path("nowhere"), "center") == EndToEnd(500, 375, "center")
    study = study_in(cost=QUICK)
    entries = Manifest.load(DATA_DIRECTORY).entries
    expected = f"{round(median(one.width for one in entries))} x {round(median(one.height for one in entries))}"
    content = measured(study)
    assert content["image"] == expected
    assert 0 < content["end_to_end_ms_q1"] <= content["end_to_end_ms_median"] <= content["end_to_end_ms_q3"]
    assert content["end_to_end_runs"] >= 2


def of_resolutions(*figures: tuple[float, float, float, int]) -> dict[tuple[str, int], dict[str, Any]]:
    """Measurements of one model at 16, 32, ... px: median, quartiles and FLOPs."""
    names = ("latency_ms_median", "latency_ms_q1", "latency_ms_q3", "flops")
    return {("a", 16 << place): dict(zip(names, one, strict=True)) for place, one in enumerate(figures)}


def test_a_latency_that_falls_with_the_resolution_is_no_order() -> None:
    rising = of_resolutions((1.0, 0.9, 1.1, 10), (2.0, 1.9, 2.1, 40), (7.0, 6.9, 7.1, 160))
    assert why_implausible(rising) == {}
    found = why_implausible(of_resolutions((1.0, 0.9, 1.1, 10), (5.0, 4.9, 5.2, 40), (4.0, 3.9, 4.1, 160)))
    assert found == {("a", 32): "it took 5 ms, and 64 px, which computes more, 4"}
    # Neither of quartiles that touch, nor of nearly the same work, nor of another model is anything said.
    assert why_implausible(of_resolutions((5.0, 4.4, 5.2, 10), (4.0, 3.9, 4.1, 40))) == {}
    assert why_implausible(of_resolutions((5.0, 4.9, 5.2, 10), (4.0, 3.9, 4.1, 11))) == {}
    (_, slow), (place, fast) = of_resolutions((5.0, 4.9, 5.2, 10), (4.0, 3.9, 4.1, 40)).items()
    assert why_implausible({("b", 16): slow, place: fast}) == {}
    assert why_implausible({("a", 16): {**slow, "latency_ms_q1": None}, place: fast}) == {}
