"""What the machine is doing: CPU, memory and GPU, under the names of MLflow's own system metrics."""

import contextlib
import os
import shutil
import subprocess
import time

import psutil

from resomap.machine.gpus import NO_GPU

MEGABYTE = 1024 * 1024
LEAST_SECONDS = 0.5  # over which the CPU's share means something
SECONDS = 5.0  # that the driver's tool may take


class Machine:
    """The machine that the process `trainer` computes on."""

    def __init__(self, trainer: int) -> None:
        self._trainer = trainer
        psutil.cpu_percent()  # from here on
        self._since = time.monotonic()

    def sample(self) -> dict[str, float]:
        """Shares in percent (the CPU's since the sample before), memory in megabytes (2**20 bytes), power in watts."""
        memory = psutil.virtual_memory()
        values = {
            "system/system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system/system_memory_usage_percentage": memory.percent,
        }
        if (now := time.monotonic()) - self._since >= LEAST_SECONDS:
            values["system/cpu_utilization_percentage"] = psutil.cpu_percent()
            self._since = now
        with contextlib.suppress(psutil.Error):  # it has just ended
            values["system/process_memory_megabytes"] = psutil.Process(self._trainer).memory_info().rss / MEGABYTE
        return values | _gpus()


def _gpus() -> dict[str, float]:
    """Of the GPUs that the trainer was given, numbered as it sees them; none where the driver's tool is silent."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    tool = shutil.which("nvidia-smi")
    if tool is None or (given is not None and given.strip() in NO_GPU):
        return {}
    words = [tool, "--query-gpu=utilization.gpu,memory.used,power.draw", "--format=csv,noheader,nounits"]
    words += [f"--id={given}"] if given else []
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    names = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")
    values: dict[str, float] = {}
    for number, line in enumerate(said.splitlines()):
        for name, text in zip(names, line.split(","), strict=False):
            try:
                values[f"system/gpu_{number}_{name}"] = float(text)
            except ValueError:
                continue  # "[N/A]", as on a GPU that is split
    return values
