"""Check that a second process waits for a device that another one holds, and gets it when that one is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator

from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.core.errors import ResomapError
from resomap.machine.gpus import visible_gpus

HAS, WAITS = "has ", "waiting for one"
WHAT = "a second process on one device"


def check_waiting(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row: hold the device in one process, ask for it in another, kill the first."""
    if settings.is_gpu:
        gpus = visible_gpus()
        if not gpus:
            reason = "the driver lists no GPU: is NVML (libnvidia-ml.so.1) there? Set CUDA_VISIBLE_DEVICES=0"
            yield Row(WHAT, reason, False)
            return
        variables = {"CUDA_VISIBLE_DEVICES": gpus[0].handle}
    else:  # a device that is only a name, whose lock lies in a folder of the run's own
        variables = {"CUDA_VISIBLE_DEVICES": "0", "TMPDIR": settings.place}
    holder = _start(settings, variables)
    waiter = None
    try:
        said = _words(holder)
        handle = said.removeprefix(HAS)
        if not said.startswith(HAS) or handle == "none":
            yield Row(WHAT, f"the first process has no device: {said}", False)
            return
        waiter = _start(settings, variables)
        first = _words(waiter)
        holder.kill()
        holder.wait()
        then = _words(waiter) if first.endswith(WAITS) else first
        passed = first.endswith(WAITS) and then == f"{HAS}{handle}"
        words = f"it waited ({first}), and had the device once the first was killed" if passed else f"{first}; {then}"
        yield Row(WHAT, words, passed, {"device": handle})
    finally:
        for process in (holder, waiter):
            if process is not None:
                process.kill()
                process.wait()


def _start(settings: GpuSettings, variables: dict[str, str]) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "resomap.bench.gpu.device_user", settings.device]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env={**os.environ, **variables}, stdin=pipe, stdout=pipe, text=True)


def _words(process: "subprocess.Popen[str]") -> str:
    """Return the next sentence of a process, remarks on several GPUs aside."""
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith("on GPU "):
            return line.strip()
    raise ResomapError("a process that was to take the device ended before it had it")
