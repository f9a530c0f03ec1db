"""`resomap bench --gpu`, rehearsed on the CPU: each part runs, is held to its time, and fails alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, command, environment_with, hide_packages
from test_bench import STAND_IN

from resomap.bench.gpu.gpu_load import GpuLoad
from resomap.bench.gpu.gpu_record import CUT, DONE, FAILED, LEFT_OUT
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.gpu.gpu_suite import GpuSuite
from resomap.bench.gpu.part_table import PARTS, Part, part, work_of
from resomap.cells.slots_choice import fastest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["schema", "device", "is_rehearsal", "limit_seconds", "packages", "missing", "parts", "passed"],
    "properties": {
        "schema": {"const": 1},
        "device": {"enum": ["cuda", "cpu"]},
        "is_rehearsal": {"type": "boolean"},
        "passed": {"type": "boolean"},
        "packages": {"type": "object", "additionalProperties": {"type": "string"}},
        "missing": {"type": "object", "additionalProperties": {"type": "string"}},
        "parts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "name",
                    "about",
                    "judges",
                    "budget_seconds",
                    "state",
                    "reason",
                    "seconds",
                    "rows",
                    "passed",
                ],
                "properties": {
                    "state": {"enum": ["waiting", "running", "done", "cut", "failed", "left out"]},
                    "passed": {"type": ["boolean", "null"]},
                    "reason": {"type": ["string", "null"]},
                    "rows": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["what", "words", "passed", "figures"],
                            "properties": {
                                "passed": {"type": ["boolean", "null"]},
                                "figures": {
                                    "type": "object",
                                    "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def rehearse(tmp_path: Path, *words: str) -> tuple["subprocess.CompletedProcess[str]", dict[str, Any]]:
    output = tmp_path / "gpu.json"
    done = command(
        *("resomap", "bench", "--gpu", "--device", "cpu", "--output", str(output), *words), cwd=tmp_path, timeout=590
    )
    return done, json.loads(output.read_text())


def found(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in record["parts"] if one["name"] == name)


@pytest.mark.slow
def test_what_it_checks_is_right_on_a_cpu(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    done, record = rehearse(tmp_path, "--parts", "machine,scaler,memory,lock")
    assert done.returncode == 0, done.stdout + done.stderr
    jsonschema.validate(record, SCHEMA)
    assert record["passed"] is True
    assert [one["state"] for one in record["parts"]] == [DONE] * 4
    resumed = found(record, "scaler")["rows"][0]
    assert resumed["figures"]["precision"] == "float16"
    assert resumed["figures"]["differing"] == 0
    assert resumed["figures"]["scale"] > 0
    assert "it went on at epoch" in resumed["words"]
    halved = found(record, "memory")["rows"][0]["figures"]
    assert halved["microbatch"] == 8
    assert halved["exact"] is False
    assert "waiting for one" in found(record, "lock")["rows"][0]["words"]
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| part", "| machine", "| scaler", "| memory", "| lock"]


@pytest.mark.slow
def test_what_it_measures_on_a_cpu(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(STAND_IN)
    names = ["rates", "shared", "larger", "loader", "start", "saves", "script"]
    done, record = rehearse(tmp_path, "--parts", ",".join(names), "--timm-train", str(script))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {one["name"]: one["rows"][0]["figures"] for one in record["parts"]}
    assert list(rows) == names
    assert [one["passed"] for one in record["parts"]] == [None] * len(names)
    for name, other in (("rates", "on_device_per_second"), ("loader", "timm_loader_per_second"), ("script", "timm")):
        figures = rows[name]
        assert figures["ratio"] == pytest.approx(figures["images_per_second"] / figures[other])
    assert (rows["rates"]["resolution"], rows["larger"]["resolution"]) == (32, 48)
    one, two, auto = (row["figures"] for row in found(record, "shared")["rows"])
    assert one["images_per_second"] > 0
    assert (one["at_once"], two["at_once"]) == (1, 2)
    assert auto["at_once"] == fastest({1: one["images_per_second"], 2: two["images_per_second"]}, 2)
    assert rows["script"]["timm"] == 46, "the last epoch's mean, of train.py's own words"
    assert rows["rates"]["utilization_percent"] is None
    assert rows["start"]["seconds"] > 0
    assert rows["saves"]["saves"] >= 1


def test_the_load_of_a_gpu_is_what_the_driver_says(nvidia_driver: Callable[..., None]) -> None:
    uuid = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
    nvidia_driver(f"GPU {uuid} 83 1000000 412000")
    code = f"""
import time
from resomap.bench.gpu.gpu_load import GpuLoad
with GpuLoad("{uuid}") as load:
    while not load._found:
        time.sleep(0.05)
print(load.words, load.figures["used_bytes"])
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, env=environment_with(), capture_output=True, text=True, timeout=60)
    assert done.stdout == "83% of the time busy, 412 W 1000000.0\n", done.stderr


def test_without_a_gpu_no_load_is_known() -> None:
    with GpuLoad(None) as load:
        pass
    assert load.words == ""
    assert set(load.figures.values()) == {None}


# What a bare machine with torch, timm and their like lacks.
ABSENT = (
    *("snakemake", "snakemake_interface_common", "snakemake_executor_plugin_slurm", "mlflow", "dagshub", "altair"),
    *("vl_convert", "elpv_dataset", "rich", "imagehash", "pynvml", "cleanlab", "openvino", "captum"),
)


@pytest.mark.slow
def test_a_bare_machine_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_packages(tmp_path / "hidden", monkeypatch, *ABSENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))  # and the working directory: a plain checkout
    output = tmp_path / "gpu.json"
    names = "machine,resume,lock,rates"
    words = [sys.executable, "-m", "resomap", "bench", "--gpu", "--device", "cpu"]
    words += ["--parts", names, "--output", str(output)]
    done = subprocess.run(words, cwd=ROOT, env=environment_with(), capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(output.read_text())
    assert record["passed"] is True
    absent = {"snakemake", "mlflow", "altair", "rich", "elpv-dataset", "nvidia-ml-py"}
    assert set(record["missing"]) == absent
    assert {line.split(" is not installed: ")[0] for line in done.stdout.splitlines()[: len(absent)]} == absent


def test_a_package_that_it_cannot_do_without_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_packages(tmp_path / "hidden", monkeypatch, "pydantic")
    words = [sys.executable, "-m", "resomap", "bench", "--gpu"]
    done = subprocess.run(words, cwd=ROOT, env=environment_with(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "resomap: the package pydantic is not installed: `pip install pydantic` brings it\n"


def test_parts_are_held_to_their_time_and_fail_alone(tmp_path: Path) -> None:
    settings = GpuSettings.rehearsal(tmp_path)
    parts = [
        Part("none of this name", "a part that fails", "machine_facts", "describe", 60, judges=True),
        replace(part("resume"), seconds=0.5),
        part("lock"),
    ]
    suite = GpuSuite(settings, tmp_path / "gpu.json", parts, 120)
    lines = list(suite.run())
    states = {one.name: one.state for one in suite.record.parts}
    assert states == {"none of this name": FAILED, "resume": CUT, "lock": DONE}
    assert suite.record.passed is False
    assert "not shown to be right: none of this name, resume" in lines[-1]
    assert any("cut: ended after 0 s" in line or "cut: ended after 1 s" in line for line in lines)
    assert json.loads((tmp_path / "gpu.json").read_text()) == json.loads(json.dumps(suite.record.as_json()))


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    suite = GpuSuite(GpuSettings.rehearsal(tmp_path), None, [part("lock")], limit_seconds=1)
    lines = list(suite.run())
    assert suite.record.parts[0].state == LEFT_OUT
    assert any("left out: no time was left for it" in line for line in lines)
    assert suite.record.passed is False


def test_without_a_gpu_one_sentence_says_so(tmp_path: Path) -> None:
    done = command("resomap", "bench", "--gpu", "--parts", "machine,lock", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("resomap: the configuration says device: cuda, but torch")
    assert done.stderr.count("\n") == 1
    assert "--device cpu` rehearses" in done.stderr


MISTAKES = ("--gpu --parts speed", "--gpu --photos 3", "--gpu --images 0", "--gpu --timm-train gone.py", "--device cpu")


@pytest.mark.parametrize("words", [words.split() for words in MISTAKES])
def test_a_mistake_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    done = command("resomap", "bench", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("resomap: --")
    assert done.stderr.count("\n") == 1


def test_each_part_has_its_function() -> None:
    for one in PARTS:
        assert callable(work_of(one.name))
