"""Cost kit: written for a tiny study, measured without ResoMap, killed and gone on with, and taken in."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import MODEL, command, small_config
from waiting import wait_for

from resomap.cells.costs_file import read_costs_file
from resomap.cells.device_costs import all_device_costs, device_files
from resomap.cells.study import CURRENT, Study
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.cost import (
    best_batch,
    on_target,
    runtime_figures,
    session,
    target_cell,
    target_sessions,
    target_timing,
    timing,
)
from resomap.cost.cost_kit import NEWEST_IR, NEWEST_OPSET, one_file, planned_bytes, require_room
from resomap.cost.cost_table import rows

SIZES = [32, 48, 64]
OPENVINO = "OpenVINOExecutionProvider"
QUICK = {"seconds": 0.1, "least_runs": 2, "largest_batch": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A working directory with a study of one model at three resolutions, and its kit in `kit`."""
    directory = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Study.open(small_config(images, resolutions=SIZES, cost=QUICK)).save(CURRENT)
    done = command("resomap", "cost-kit", "kit", cwd=directory)
    assert done.returncode == 0, done.stderr
    assert "kit: about 2 MB for 3 networks" in done.stdout
    return directory


@pytest.fixture
def study(place: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study, in its working directory, without costs of other machines."""
    monkeypatch.chdir(place)
    shutil.rmtree("results/cost", ignore_errors=True)
    return Study.load(CURRENT)


def measure(kit: Path, *words: str, python: str = sys.executable, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the kit's script from a folder of its own, as on a machine that has no ResoMap."""
    return subprocess.run(
        [python, "-I", str(kit / "measure.py"), *words], capture_output=True, text=True, timeout=120, **options
    )


def measured(place: Path, folder: Path, device: str = "board") -> dict[str, Any]:
    """The content of costs.json, which is measured in a folder."""
    done = measure(place / "kit", "--device", device, "--threads", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads((folder / "costs.json").read_text())
    return content


@pytest.fixture(scope="module")
def costs(place: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Content of the costs.json that the kit measured here."""
    return measured(place, tmp_path_factory.mktemp("board"))


# The folder


def test_all_resolutions_of_a_model_share_one_file_of_weights(place: Path) -> None:
    """It is as large as one network, the graphs are small; the answers are those of the graph with its weights."""
    kit = place / "kit"
    weights, graphs = kit / MODEL / "weights.bin", sorted((kit / MODEL).glob("*.onnx"))
    assert [path.stem for path in graphs] == ["32", "48", "64"]
    content = read_json(kit / "kit.json")
    for cell, path in zip(content["cells"], graphs, strict=True):
        model = onnx.load(path)  # with its weights
        assert path.stat().st_size < 100_000
        assert weights.stat().st_size < 1.1 * cell["weights_bytes"]
        assert cell["file_bytes"] == pytest.approx(cell["weights_bytes"], rel=0.15)
        assert (model.opset_import[0].version, model.ir_version) <= (NEWEST_OPSET, NEWEST_IR)
        image = np.random.default_rng(0).standard_normal((2, 3, cell["resolution"], cell["resolution"]))
        whole, shared = (
            onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"]).run(
                None, {"images": image.astype(np.float32)}
            )[0]
            for source in (model.SerializeToString(), str(path))
        )
        assert whole.shape == (2, 2)
        assert np.array_equal(whole, shared)
        assert np.ptp(whole) > 0
    sizes = {str(one.relative_to(kit)): one.stat().st_size for one in kit.rglob("*") if one.is_file()}
    assert content["files"] == {name: size for name, size in sizes.items() if name != "kit.json"}


def test_the_size_that_is_said_first_is_about_that_of_the_folder(study: Study) -> None:
    size = sum(one.stat().st_size for one in Path("kit").rglob("*") if one.is_file())
    assert size < planned_bytes(study, 2) < size + 3 * 200_000


def test_what_is_in_the_way_of_a_kit_is_one_sentence(place: Path, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for folder, words in ((tmp_path, "has other files in it"), (tmp_path / "thesis.txt", "is no folder")):
        with pytest.raises(ResomapError, match=words):
            require_room(folder, 1)
    with pytest.raises(ResomapError, match=r"takes about 13 MB, and the disk of .* has 1\d MB free"):
        require_room(small_disk / "kit", 13_000_000)
    done = command("resomap", "cost-kit", str(tmp_path), cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


# The script


def test_the_script_needs_python_39_onnxruntime_and_numpy_alone(place: Path) -> None:
    text = (place / "kit" / "measure.py").read_text()
    assert text == one_file()
    tree = ast.parse(text, feature_version=(3, 9))
    names = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_it_measures_each_network_in_turns(costs: dict[str, Any]) -> None:
    assert (costs["device"], costs["threads"], costs["runtime"]) == ("board", 1, "onnxruntime")
    assert costs["runtime_version"] == onnxruntime.__version__
    assert costs["cpu"]
    assert [one["resolution"] for one in costs["cells"]] == SIZES
    for one in costs["cells"]:
        assert 0 < one["latency_ms_q1"] <= one["latency_ms_median"] <= one["latency_ms_q3"]
        assert one["best_batch"] in (1, 2)
        assert one["throughput_images_per_second_median"] > 0
        assert one["unsteady"] == ((one["latency_ms_q3"] - one["latency_ms_q1"]) / one["latency_ms_median"] > 0.1)
        assert one["peak_memory_bytes_batch_1"] > one["file_bytes"]
        assert set(one["nodes"]) == {"CPUExecutionProvider"}
        assert one["nodes"]["CPUExecutionProvider"] > 5
        assert one["reasons"] == {}


def test_it_measures_as_the_grid_does() -> None:
    for name, here in (
        ("ROUNDS", runtime_figures),
        ("PAYS", best_batch),
        ("PROBE_SHARE", best_batch),
        ("PROBE_RUNS", best_batch),
        ("WAITING_SHARE", session),
        ("BYTES_AN_ACTIVATION", runtime_figures),
        ("LEAST_ROUNDS", runtime_figures),
        ("STEADY", timing),
    ):
        there = [
            getattr(one, name) for one in (on_target, target_cell, target_sessions, target_timing) if name in vars(one)
        ]
        assert set(there) == {getattr(here, name)}, name
    assert target_timing.WARM_UP == timing.WARM_UP_SHARE


# The provider


def test_a_provider_that_is_not_there_is_one_sentence_with_those_that_are(place: Path, tmp_path: Path) -> None:
    here = onnxruntime.get_available_providers()
    for name in (next(one for one in onnxruntime.get_all_providers() if one not in here), "", "cpu\x1b[2J"):
        done = measure(place / "kit", f"--provider={name}", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (
            1,
            f"measure.py: --provider {name!a} is not in this onnxruntime, which has {', '.join(here)}; name one of "
            "them\n",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(), reason="needs a provider that takes no nodes"
)
def test_a_provider_that_leaves_all_to_the_processor_has_no_figures(place: Path, tmp_path: Path) -> None:
    """ONNX Runtime opens it and lists it first, and the processor computes the network."""
    done = measure(place / "kit", "--provider", "AzureExecutionProvider", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "measure.py: none of the networks can be measured: AzureExecutionProvider computes none of its nodes, "
        "CPUExecutionProvider does\n",
    )
    assert "threads: " in done.stdout
    assert "(not pinned)" in done.stdout
    assert list(tmp_path.iterdir()) == [], (
        "neither figures, nor a journal that another provider would have to go on with"
    )


@pytest.mark.slow
def test_another_provider_computes_the_network_and_is_told(place: Path, study: Study, tmp_path: Path) -> None:
    """OpenVINO as a provider of ONNX Runtime, in an environment of its own."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "own")], check=True)
    python = str(tmp_path / "own" / "bin" / "python")
    packages = ("onnxruntime-openvino", "numpy")
    if subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True).returncode:
        pytest.skip("needs a package index that has onnxruntime-openvino")
    done = measure(place / "kit", "--device", "board", "--provider", OPENVINO, python=python, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "costs.json").read_text())
    assert (content["provider"], content["pinned_cores"]) == (OPENVINO, None)
    for one in content["cells"]:
        assert one["nodes"][OPENVINO] > 0
        assert one["latency_ms_median"] > 0
        assert one["reasons"] == {"memory": f"{OPENVINO} does not tell its memory"}
    assert command("resomap", "cost-import", str(tmp_path / "costs.json"), cwd=Path.cwd()).returncode == 0
    assert {(row["device_kind"], row["runtime"]) for row in rows(study, 2)} == {("other", f"onnxruntime {OPENVINO}")}


def test_a_name_that_means_the_study_s_own_machine_is_refused_before_it_is_measured(
    place: Path, tmp_path: Path
) -> None:
    for name, words in (("cpu", "means the machine of the study"), ("a/b", "takes 1 to 64 letters"), ("..", "takes 1")):
        done = measure(place / "kit", f"--device={name}", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def python39(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python 3.9 with the last ONNX Runtime for it, and NumPy, and nothing of ResoMap."""
    found = shutil.which("python3.9")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    if "3.9." not in version:
        pytest.skip("needs python3.9 on the PATH")
    folder = tmp_path_factory.mktemp("python39")
    subprocess.run([str(found), "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    installed = subprocess.run([python, "-m", "pip", "install", "-q", "onnxruntime", "numpy"], capture_output=True)
    if installed.returncode:
        pytest.skip("needs a package index that has onnxruntime for Python 3.9")
    return python


@pytest.mark.slow
def test_it_runs_under_python_39(place: Path, python39: str, tmp_path: Path, study: Study) -> None:
    shutil.copytree("kit", tmp_path / "copied")
    done = measure(tmp_path / "copied", "--device", "old", python=python39, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "costs.json").read_text())
    assert content["python"].startswith("3.9.")
    assert all(one["latency_ms_median"] > 0 for one in content["cells"])
    assert command("resomap", "cost-import", str(tmp_path / "costs.json"), cwd=Path.cwd()).returncode == 0


def test_it_goes_on_where_it_was_killed(place: Path, tmp_path: Path) -> None:
    """Killed at three places, a line of its journal torn: what was measured before stays, to the last figure."""
    words = [sys.executable, "-I", str(place / "kit" / "measure.py"), "--device", "board", "--threads", "1"]
    part, known = tmp_path / "costs.json.part", b""
    for lines in (3, 12, 20):
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda lines=lines: part.exists() and part.read_bytes().count(b"\n") >= lines, process=process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        content = part.read_bytes()
        assert content.startswith(known)
        assert not (tmp_path / "costs.json").exists()
        known = content[: content.rfind(b"\n") + 1]
        part.write_bytes(known + b'{"cell": "test_res')
    noted = [json.loads(line) for line in known.splitlines()[1:]]
    probed = {(one["cell"], one["batch"]) for one in noted if one["what"] == "probe"}
    rest = measure(place / "kit", "--device", "board", "--threads", "1", cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr
    assert probed
    assert not part.exists()
    cells = json.loads((tmp_path / "costs.json").read_text())["cells"]
    assert [cell["resolution"] for cell in cells if cell["latency_runs"] >= 2] == SIZES
    again = measure(place / "kit", "--device", "board", "--threads", "1", cwd=tmp_path)
    assert "is complete" in again.stdout
    other = measure(place / "kit", "--device", "board", "--threads", "2", cwd=tmp_path)
    assert (other.returncode, other.stderr) == (
        1,
        "measure.py: costs.json was begun with another threads; repeat those options, or add --anew\n",
    )


def test_a_folder_that_was_not_copied_whole_is_one_sentence(place: Path, tmp_path: Path) -> None:
    copied = tmp_path / "kit"
    shutil.copytree(place / "kit", copied)
    os.truncate(copied / MODEL / "weights.bin", 1000)
    done = measure(copied, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"measure.py: {MODEL}/weights.bin was not copied whole; copy the folder again\n",
    )
    (copied / "kit.json").unlink()
    done = measure(copied, cwd=tmp_path)
    assert done.returncode == 1
    assert "is no complete kit" in done.stderr
    assert done.stderr.count("\n") == 1


# Taken in


def test_costs_are_taken_in_under_the_name_of_their_device(costs: dict[str, Any], study: Study, tmp_path: Path) -> None:
    write_json(tmp_path / "costs.json", costs)
    for words in ((), ("--device", "nano.2"), ("--device", "board")):
        done = command("resomap", "cost-import", str(tmp_path / "costs.json"), *words, cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        assert "3 of 3 cells" in done.stdout
    other = tmp_path / "more.json"
    write_json(other, {**costs, "threads": 4})
    assert command("resomap", "cost-import", str(other), cwd=Path.cwd()).returncode == 0
    paths = [str(path) for path in device_files()]
    assert paths == [
        f"results/cost/{name}.json"
        for name in ("board/onnxruntime-float32-1", "board/onnxruntime-float32-4", "nano.2/onnxruntime-float32-1")
    ]
    first = all_device_costs()[0].contents(study, 2)
    for one in costs["cells"]:
        content = first[one["model"], one["resolution"]]
        assert content["latency_ms_median"] == one["latency_ms_median"]
        assert (content["device"], content["threads"], content["precision"]) == ("board", 1, "float32")
    assert all_device_costs()[0].contents(study, 3) == {}
    table = rows(study, 2)
    assert {row["pinned_cores"] for row in table} == {costs["pinned_cores"]}
    assert first[MODEL, SIZES[0]]["other_programs_cores"] == costs["other_programs_cores"]
    assert [(row["device"], row["threads"], row["resolution"]) for row in table] == [
        (device, threads, size) for device, threads in (("board", 1), ("board", 4), ("nano.2", 1)) for size in SIZES
    ]
    assert all(row["flops"] > 0 and row["throughput_images_per_second_median"] > 0 for row in table)


def hostile(costs: dict[str, Any], **changes: Any) -> bytes:
    cells = changes.pop("cell", {})
    return json.dumps({**costs, "cells": [{**costs["cells"][0], **cells}, *costs["cells"][1:]], **changes}).encode()


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "empty": (lambda _: b"", "is no JSON"),
    "binary": (lambda _: b"\xff\xfe\0\1", "is no JSON"),
    "nested": (lambda _: b"[" * 100_000, "is no JSON"),
    "endless": (lambda _: b" " * (9 * 2**20), "has more than"),
    "huge number": (lambda _: b'{"format": ' + b"9" * 10_000 + b"}", "is no JSON"),
    "not a number": (lambda one: hostile(one).replace(b'"threads": 1', b'"threads": NaN'), "is no JSON"),
    "infinite": (lambda one: hostile(one).replace(b'"seconds": 0.1', b'"seconds": 1e999'), "seconds"),
    "list": (lambda _: b"[1, 2]", "is not what a cost kit writes"),
    "other schema": (lambda one: hostile(one, schema=2), "another form"),
    "path as device": (lambda one: hostile(one, device="../../evil"), "device must have 1 to 64 letters"),
    "dots as device": (lambda one: hostile(one, device=".."), "device must have 1 to 64 letters"),
    "this machine": (lambda one: hostile(one, device="cuda"), "means this machine"),
    "newline in device": (lambda one: hostile(one, device="board\n"), "device must have 1 to 64 letters"),
    "path as model": (lambda one: hostile(one, cell={"model": "../x"}), "cells.0.model"),
    "control characters": (lambda one: hostile(one, cpu="\x1b[2J"), "cpu has characters that cannot be printed"),
    "long reason": (lambda one: hostile(one, cell={"reasons": {"model": "x" * 5000}}), "cells.0.reasons"),
    "negative": (lambda one: hostile(one, cell={"latency_ms_median": -1.0}), "cells.0.latency_ms_median"),
    "text for a number": (lambda one: hostile(one, cell={"latency_ms_median": "1"}), "cells.0.latency_ms_median"),
    "quartiles": (lambda one: hostile(one, cell={"latency_ms_q1": 1e9}), "quartiles of latency_ms"),
    "true for a count": (lambda one: hostile(one, threads=True), "threads"),
    "another key": (lambda one: hostile(one, extra=1), "extra"),
    "twice": (lambda one: hostile(one, cells=[one["cells"][0]] * 2), "has a network twice"),
    "cores that are none": (lambda one: hostile(one, pinned_cores="0,x"), "pinned_cores"),
    "negative load": (lambda one: hostile(one, other_programs_cores=-1.0), "other_programs_cores"),
    "no nodes": (lambda one: hostile(one, cell={"nodes": {"CPUExecutionProvider": 0}}), "cells.0.nodes"),
    "path as provider": (lambda one: hostile(one, cell={"nodes": {"../x": 1}}), "cells.0.nodes"),
    "no cells": (lambda one: hostile(one, cells=[]), "cells"),
    "other classes": (lambda one: hostile(one, classes=5), "5 classes and 3 channels"),
    "other models": (lambda one: hostile(one, cells=[{**one["cells"][0], "model": "vgg11"}]), "none of this study's"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_sentence(
    name: str, costs: dict[str, Any], study: Study, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from resomap.cli import main

    write, words = HOSTILE[name]
    path = tmp_path / "costs.json"
    path.write_bytes(write(costs))
    assert main(["cost-import", str(path)]) == 2
    said = capfd.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert device_files() == []


def test_what_is_no_file_of_costs_is_one_sentence(costs: dict[str, Any], study: Study, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("none", "there is no file"), (".", "cannot be read"), ("pipe", "cannot be read")):
        with pytest.raises(ResomapError, match=words):
            read_costs_file(tmp_path / name)
    write_json(tmp_path / "costs.json", costs)
    for name in ("", "a/b", "..", "cpu", "x" * 65, "ü"):
        done = command("resomap", "cost-import", str(tmp_path / "costs.json"), f"--device={name}", cwd=Path.cwd())
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "--device" in done.stderr
