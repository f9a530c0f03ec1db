"""System metrics of the machine: CPU, memory and GPU, under the names that MLflow itself gives them."""

import contextlib
import time

import psutil

from resomap.machine.gpus import may_have_gpu, visible_gpus
from resomap.machine.nvidia import FIGURES_SECONDS, figures

MEGABYTE = 1024 * 1024
LEAST_SECONDS = 0.5  # over which the CPU's share is meaningful


class Machine:
    """Machine that the process `trainer` computes on."""

    def __init__(self, trainer: int) -> None:
        self._trainer = trainer
        psutil.cpu_percent()  # from here on
        self._since = time.monotonic()

    def sample(self) -> dict[str, float]:
        """Return the metrics: shares in percent (the CPU's since the last sample), megabytes (2**20 bytes), watts."""
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
    """Return figures of the trainer's GPUs, numbered as it sees them; none where the driver does not answer."""
    if not may_have_gpu():
        return {}
    visible = visible_gpus(FIGURES_SECONDS)
    known = figures(gpu.identity for gpu in visible)
    values: dict[str, float | None] = {}
    for number, gpu in enumerate(visible):
        if gpu.identity in known:
            found, name = known[gpu.identity], f"system/gpu_{number}"
            values[f"{name}_utilization_percentage"] = found.utilization_percent
            values[f"{name}_memory_usage_megabytes"] = found.memory_bytes and found.memory_bytes / MEGABYTE
            values[f"{name}_power_usage_watts"] = found.power_watts
    return {name: value for name, value in values.items() if value is not None}
