"""Device that computes: CPU or GPU, mixed precision, threads, determinism."""

import ctypes
import os
import platform
import resource
from dataclasses import dataclass

import torch

from resomap.compute.memory import Memory, hold_share, memory_of
from resomap.core.errors import ResomapError
from resomap.machine.gpu_lock import bound_share
from resomap.machine.gpus import given_gpu

# How torch and the libraries below it say that memory ended, where they raise a plain RuntimeError.
SHORT_OF_MEMORY = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
# Of glibc's malloc.h: how many blocks are mapped on their own, and how much free memory is kept (-1: all).
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1


@dataclass(frozen=True)
class Device:
    """A torch device with the name that markers and reports carry."""

    torch: torch.device
    name: str

    @property
    def is_cuda(self) -> bool:
        """True if the device is a GPU."""
        return self.torch.type == "cuda"

    def memory(self) -> Memory:
        """Return the memory that this process can still get of the device: the GPU's, or main memory."""
        return memory_of(self.torch)

    def peak_memory_bytes(self) -> int:
        """Return the training's highest memory so far: allocated on the GPU, or resident in this process on a CPU."""
        if self.is_cuda:
            return torch.cuda.max_memory_allocated(self.torch)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def choose_device(wanted: str) -> Device:
    """Return the device for `auto`, `cpu` or `cuda`.

    Raises ResomapError where a GPU was asked for or given to this job, and torch finds none: training on the CPU
    in its place would take a hundred times as long and look like a hang.
    """
    given = given_gpu()
    if wanted == "cpu":
        return Device(torch.device("cpu"), cpu_name())
    if torch.cuda.is_available():
        hold_share(torch.device("cuda", 0), bound_share())
        return Device(torch.device("cuda", 0), torch.cuda.get_device_name(0))
    if wanted == "cuda" or given:
        why = f"this job was given a GPU ({given})" if given else "the configuration says device: cuda"
        raise ResomapError(
            f"{why}, but torch {torch.__version__} finds no CUDA device; check the driver with nvidia-smi and that "
            "torch is a CUDA build, or train on the CPU with --config device=cpu"
        )
    return Device(torch.device("cpu"), cpu_name())


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an allocation failed, on a GPU or in main memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in SHORT_OF_MEMORY)


def undeterministic_kernel(error: BaseException) -> str | None:
    """Return the name of the kernel that torch refused under `deterministic: true`; None for another error."""
    name, found, _ = str(error).partition(" does not have a deterministic implementation")
    return name.split()[-1] if found else None


def memory_left(device: torch.device) -> str:
    """Return free and whole memory of the device, as text for a person."""
    return str(memory_of(device))


def cpu_name() -> str:
    """Return the processor's model name, or its architecture where the system does not tell."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def precision(amp: str, device: Device) -> torch.dtype | None:
    """Return the dtype of mixed precision for `auto`, `bf16`, `fp16` or `off`; None means plain float32."""
    if amp == "auto":
        supported = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.is_cuda
            else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
        return torch.bfloat16 if supported else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[amp]


def prepare_backend(device: Device, deterministic: bool, threads: int) -> None:
    """Set threads and determinism for this process. The thread count changes the order of sums, so it is recorded."""
    torch.set_num_threads(threads)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = device.is_cuda and not deterministic
    torch.set_float32_matmul_precision("highest" if deterministic else "high")


def keep_freed_memory() -> None:
    """Keep the memory that this process frees for its next step, where it trains on a CPU (glibc's mallopt).

    glibc gives a freed tensor's memory back to the system, and each step of a training then pays for getting it anew,
    page by page: a tenth of a step of resnet18 at 128 px, a third of one of vgg11 at 64. The memory that is kept is in
    pieces, so that at its highest it is a twentieth more, and with vgg11's few large tensors a fifth. Elsewhere than
    on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
