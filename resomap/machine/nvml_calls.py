"""Calls of NVIDIA's management library through ctypes, for machines without the package nvidia-ml-py.

The names and answers are those of its module `pynvml`, of which only what `nvidia` asks is here.
"""

import ctypes
from typing import Any

NVML_DEVICE_MIG_ENABLE = 1
nvmlMemory_v2 = 0x02000028  # its size, and its version in the highest byte
_LIBRARY = "libnvidia-ml.so.1"
_TEXT_BYTES = 96
_Count = ctypes.c_uint


class NVMLError(Exception):
    """Answer of the library that is no success; its only argument is the number."""


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _MemoryWithReserve(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint),
        *((name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")),
    ]


def _call(name: str, *arguments: Any) -> None:
    try:
        function = getattr(ctypes.CDLL(_LIBRARY), name)
    except (AttributeError, OSError) as error:  # an older driver has no such function
        raise NVMLError(str(error)) from None
    if code := function(*arguments):
        raise NVMLError(code)


def _number(name: str, *arguments: Any) -> int:
    found = _Count()
    _call(name, *arguments, ctypes.byref(found))
    return found.value


def _handle(name: str, *arguments: Any) -> ctypes.c_void_p:
    found = ctypes.c_void_p()
    _call(name, *arguments, ctypes.byref(found))
    return found


def _text(name: str, *arguments: Any) -> str:
    found = ctypes.create_string_buffer(_TEXT_BYTES)
    _call(name, *arguments, found, _Count(_TEXT_BYTES))
    return found.value.decode()


def nvmlInit() -> None:
    """Start the library in this process."""
    _call("nvmlInitWithFlags", _Count(0))


def nvmlShutdown() -> None:
    """End what `nvmlInit` started."""
    _call("nvmlShutdown")


def nvmlSystemGetDriverVersion() -> str:
    """Return the driver's version."""
    return _text("nvmlSystemGetDriverVersion")


def nvmlDeviceGetCount() -> int:
    """Return the number of GPUs."""
    return _number("nvmlDeviceGetCount_v2")


def nvmlDeviceGetHandleByIndex(index: int) -> ctypes.c_void_p:
    """Return the handle of a GPU in the order of the bus."""
    return _handle("nvmlDeviceGetHandleByIndex_v2", _Count(index))


def nvmlDeviceGetHandleByUUID(uuid: str) -> ctypes.c_void_p:
    """Return the handle of a GPU or a MIG part."""
    return _handle("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode()))


def nvmlDeviceGetUUID(handle: ctypes.c_void_p) -> str:
    """Return the UUID of a GPU or a MIG part."""
    return _text("nvmlDeviceGetUUID", handle)


def nvmlDeviceGetMigMode(handle: ctypes.c_void_p) -> list[int]:
    """Return whether the GPU is divided now, and after a restart."""
    now, later = _Count(), _Count()
    _call("nvmlDeviceGetMigMode", handle, ctypes.byref(now), ctypes.byref(later))
    return [now.value, later.value]


def nvmlDeviceGetMaxMigDeviceCount(handle: ctypes.c_void_p) -> int:
    """Return the most parts that the GPU may have."""
    return _number("nvmlDeviceGetMaxMigDeviceCount", handle)


def nvmlDeviceGetMigDeviceHandleByIndex(handle: ctypes.c_void_p, index: int) -> ctypes.c_void_p:
    """Return the handle of a part."""
    return _handle("nvmlDeviceGetMigDeviceHandleByIndex", handle, _Count(index))


def nvmlDeviceGetUtilizationRates(handle: ctypes.c_void_p) -> _Utilization:
    """Return the shares of time in which a kernel ran (`gpu`), and memory was read or written, in percent."""
    found = _Utilization()
    _call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(found))
    return found


def nvmlDeviceGetPowerUsage(handle: ctypes.c_void_p) -> int:
    """Return the power in milliwatts."""
    return _number("nvmlDeviceGetPowerUsage", handle)


def nvmlDeviceGetMemoryInfo(handle: ctypes.c_void_p, version: int | None = None) -> "_Memory | _MemoryWithReserve":
    """Return the bytes of memory; in the second version without what the driver keeps."""
    if version is None:
        plain = _Memory()
        _call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(plain))
        return plain
    found = _MemoryWithReserve(version=version)
    _call("nvmlDeviceGetMemoryInfo_v2", handle, ctypes.byref(found))
    return found
