"""NVIDIA's management library (NVML): the GPUs of this machine, what they are doing, the version of the driver.

The only place that asks the driver. NVML lies below `nvidia-smi` and is found wherever that works; its functions keep
their meaning from one driver to the next, which the tool's text does not. Asking starts no CUDA, and NVML is ended
after each question, so that no GPU is held. No question raises or outlasts its time: where there is no driver, or none
that answers, nothing is known.
"""

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from resomap.core.deadline import within

LIBRARY = "libnvidia-ml.so.1"
LISTING_SECONDS = 30.0  # a driver without its persistence daemon takes its time
FIGURES_SECONDS = 5.0

T = TypeVar("T")

# A question that outlasts its time goes on in the driver; until it comes back, another one would only hang beside it.
_asking = threading.Lock()


@dataclass(frozen=True)
class ListedGpu:
    """A GPU as the driver lists it, with the UUIDs of its MIG parts where it is divided."""

    uuid: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """Load of a GPU or a MIG part; None where the driver does not tell (of a part: utilization and power)."""

    utilization_percent: float | None
    memory_bytes: int | None  # used, without what the driver keeps for itself
    power_watts: float | None


@functools.cache
def is_installed() -> bool:
    """Return True if the driver's library is on this machine. Nothing is asked of it, so this never waits."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def list_gpus(seconds: float = LISTING_SECONDS) -> list[ListedGpu]:
    """Return the GPUs that this process may open, in the order of the bus, as `nvidia-smi -L` lists them."""
    return _ask(_listed, [], seconds)


def figures(uuids: Iterable[str], seconds: float = FIGURES_SECONDS) -> dict[str, Figures]:
    """Return what GPUs and MIG parts are doing, by UUID; those that the driver does not know are left out."""
    return _ask(lambda nvml: _figures(nvml, uuids), {}, seconds)


def memory_sizes(uuids: Iterable[str], seconds: float = FIGURES_SECONDS) -> dict[str, int]:
    """Return the memory of GPUs and MIG parts in bytes, by UUID; without those it does not tell of."""
    return _ask(lambda nvml: _memory_sizes(nvml, uuids), {}, seconds)


def driver_version(seconds: float = FIGURES_SECONDS) -> str | None:
    """Return the version of the loaded driver (`580.65.06`), or None."""
    return _ask(lambda nvml: str(nvml.nvmlSystemGetDriverVersion()), None, seconds)


def _ask(question: Callable[[Any], T], otherwise: T, seconds: float) -> T:
    """Return the answer to a question to pynvml between NVML's start and its end, or `otherwise`."""
    if not is_installed():
        return otherwise
    pynvml = _bindings()

    def ask(end: float) -> T:
        if not _asking.acquire(timeout=max(0.0, end - time.monotonic())):
            return otherwise
        try:
            pynvml.nvmlInit()
            try:
                return question(pynvml)
            finally:
                pynvml.nvmlShutdown()
        finally:
            _asking.release()

    try:
        return within(seconds, ask)
    except (TimeoutError, pynvml.NVMLError):
        return otherwise


def _bindings() -> Any:
    """Return the module by which the library is called: nvidia-ml-py's, or our own where that is not installed."""
    try:
        import pynvml
    except ModuleNotFoundError:
        from resomap.machine import nvml_calls

        return nvml_calls
    return pynvml


def _listed(nvml: Any) -> list[ListedGpu]:
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        # All GPUs are counted; those that a container or a batch job may not open, or that are lost, have no handle.
        if handle := _told(nvml, nvml.nvmlDeviceGetHandleByIndex, index):
            found.append(ListedGpu(nvml.nvmlDeviceGetUUID(handle), tuple(_parts(nvml, handle))))
    return found


def _parts(nvml: Any, handle: Any) -> Iterator[str]:
    mode = _told(nvml, nvml.nvmlDeviceGetMigMode, handle)  # the present one, and the one after a restart
    if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        if part := _told(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place):  # else it is free
            yield nvml.nvmlDeviceGetUUID(part)


def _figures(nvml: Any, uuids: Iterable[str]) -> dict[str, Figures]:
    found = {}
    for uuid in uuids:
        if handle := _told(nvml, nvml.nvmlDeviceGetHandleByUUID, uuid):
            share = _told(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
            power = _told(nvml, nvml.nvmlDeviceGetPowerUsage, handle)  # milliwatts
            memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle, nvml.nvmlMemory_v2)
            memory = memory or _told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)  # drivers before 510
            found[uuid] = Figures(
                None if share is None else float(share.gpu),
                None if memory is None else int(memory.used),
                None if power is None else power / 1000,
            )
    return found


def _memory_sizes(nvml: Any, uuids: Iterable[str]) -> dict[str, int]:
    found = {}
    for uuid in uuids:
        if handle := _told(nvml, nvml.nvmlDeviceGetHandleByUUID, uuid):
            memory = _told(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
            if memory is not None and memory.total:
                found[uuid] = int(memory.total)
    return found


def _told(nvml: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the driver answers to one call, or None where it has no answer (not supported, not allowed)."""
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None
