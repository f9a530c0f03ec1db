"""The NVIDIA driver as it is asked: through the real nvidia-ml-py, with a simulated library below it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import environment_with, hide_packages

FIRST, SECOND = (f"GPU-{digit * 8}-0000-0000-0000-000000000000" for digit in "ab")
PARTS = ["MIG-11111111-0000-0000-0000-000000000000", "MIG-22222222-0000-0000-0000-000000000000"]
MIB = 2**20


def told(code: str, **environment: str) -> Any:
    """The value of an expression in a process with `nvidia` and `machine` (its figures for the tracker) at hand."""
    lines = ["import dataclasses, json, os, time", "from resomap.machine import nvidia"]
    lines += ["from resomap.tracking.system_metrics import Machine", "machine = Machine(os.getpid())"]
    lines += ["began = time.monotonic()", f"print(json.dumps({code}, default=dataclasses.asdict))"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env=environment_with(**environment),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=["nvidia-ml-py", "ctypes"], autouse=True)
def bindings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test asks through nvidia-ml-py, and through our own calls, as where that package is missing."""
    if request.param == "ctypes":
        hide_packages(tmp_path / "hidden", monkeypatch, "pynvml")


def gpu_metrics(**environment: str) -> dict[str, float]:
    """Return what a run's system metrics say of the GPUs of a training with this environment."""
    found = told("machine.sample()", **environment)
    assert "system/system_memory_usage_percentage" in found
    return {name: value for name, value in found.items() if "gpu" in name}


def test_gpus_are_listed_with_their_parts_and_without_those_that_this_process_may_not_open(
    nvidia_driver: Callable[..., None],
) -> None:
    nvidia_driver(
        "DENIED", f"GPU {FIRST} 0 0 0", f"GPU {SECOND} 0 0 0", f"MIG {PARTS[0]} 0", "FREE", f"MIG {PARTS[1]} 0"
    )
    assert told("nvidia.list_gpus()") == [{"uuid": FIRST, "parts": []}, {"uuid": SECOND, "parts": PARTS}]


def test_the_drivers_version(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver()
    assert told("[nvidia.driver_version(), nvidia.list_gpus()]") == ["580.65.06", []]


def test_without_a_driver_nothing_is_known_and_nothing_raised(nvidia_driver: Callable[..., None]) -> None:
    asked = "[nvidia.list_gpus(), nvidia.figures(['GPU-1']), nvidia.driver_version()]"
    assert told(asked) == [[], {}, None], "a library without a driver"
    assert gpu_metrics() == {}
    if not told("nvidia.is_installed()", LD_LIBRARY_PATH=""):
        assert told(f"{asked} + ['pynvml' in __import__('sys').modules]", LD_LIBRARY_PATH="") == [[], {}, None, False]


def test_a_runs_system_metrics_are_of_the_gpus_that_its_training_sees(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver(f"GPU {FIRST} 97 {1000 * MIB} 350500", f"GPU {SECOND} 3 {20 * MIB} 70000")
    first = {"utilization_percentage": 97, "memory_usage_megabytes": 1000, "power_usage_watts": 350.5}
    second = {"utilization_percentage": 3, "memory_usage_megabytes": 20, "power_usage_watts": 70}
    both = {
        f"system/gpu_{place}_{name}": value for place, one in enumerate((first, second)) for name, value in one.items()
    }
    assert gpu_metrics() == both
    only = {f"system/gpu_0_{name}": value for name, value in second.items()}
    assert gpu_metrics(CUDA_VISIBLE_DEVICES="1") == gpu_metrics(CUDA_VISIBLE_DEVICES=SECOND) == only
    assert gpu_metrics(CUDA_VISIBLE_DEVICES="") == {}


def test_of_a_part_its_memory_is_known(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver(f"GPU {FIRST} 0 0 100000", f"MIG {PARTS[0]} {5 * MIB}", f"MIG {PARTS[1]} {7 * MIB}")
    assert gpu_metrics(CUDA_VISIBLE_DEVICES=PARTS[1]) == {"system/gpu_0_memory_usage_megabytes": 7}


def test_an_old_driver_tells_memory_too(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver("OLD", f"GPU {FIRST} 50 {3 * MIB} 1000")
    expected = {"utilization_percent": 50, "memory_bytes": 3 * MIB, "power_watts": 1}
    assert told(f"nvidia.figures(['{FIRST}', 'GPU-nobodys'])") == {FIRST: expected}


def test_a_driver_that_does_not_answer_is_given_up_in_time(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver(f"GPU {FIRST} 0 0 0", "HANGS")
    asked = f"[nvidia.list_gpus(0.3), nvidia.figures(['{FIRST}'], 0.3), nvidia.driver_version(0.3)]"
    *answers, seconds = told(f"{asked} + [time.monotonic() - began]")
    assert answers == [[], {}, None], "one question hangs in the driver, and no other follows it there"
    assert 0.9 <= seconds < 10


def test_the_library_is_closed_after_each_question(nvidia_driver: Callable[..., None]) -> None:
    nvidia_driver(f"GPU {FIRST} 0 0 0")
    code = (
        "from resomap.machine import nvidia; print(len(nvidia.list_gpus())); "
        "calls = nvidia._bindings(); print(calls.__name__); calls.nvmlDeviceGetCount()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    count, name = done.stdout.split()
    assert count == "1"
    assert "pynvml.NVMLError_Uninitialized" in done.stderr or "nvml_calls.NVMLError: 1" in done.stderr
    assert ("hidden" in os.environ.get("PYTHONPATH", "")) == (name == "resomap.machine.nvml_calls")
