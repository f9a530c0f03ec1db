"""Compilation of a network's training pass by torch.compile, where `training.compile` is true.

Only the call is compiled: parameters, their names and every other use of the network stay those of the plain module.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from resomap.compute.device import Device, is_out_of_memory
from resomap.core.errors import PermanentFailure
from resomap.models.build import first_line


def compiled(model: nn.Module) -> Callable[..., Any]:
    """Return the network's call, which torch compiles for each shape of images and each mode when it first comes.

    Call it, and the backward pass of what it returns, within `failures_in_words`.
    """
    import torch._inductor.config as inductor

    # Processes that compile at the same time: as many as this training has cores, and none beside one core.
    inductor.compile_threads = torch.get_num_threads()
    call: Callable[..., Any] = torch.compile(model, dynamic=False)
    return call


@contextlib.contextmanager
def failures_in_words() -> Iterator[None]:
    """Raise PermanentFailure with the way out where torch cannot compile; other errors pass."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor import exc

    try:
        yield
    except (TorchDynamoException, exc.CppCompileError, exc.InvalidCxxCompiler, exc.OperatorIssue) as error:
        if is_out_of_memory(error) or is_out_of_memory(getattr(error, "inner_exception", error)):
            raise
        raise PermanentFailure(
            f"training.compile is true, and torch cannot compile this network here ({first_line(error)}); install a "
            "C++ compiler (g++), or set training.compile to false"
        ) from None


def compiler(device: Device) -> str:
    """Return name and version of what compiles for a device. Raises PermanentFailure where there is none."""
    if device.is_cuda:
        return f"triton {_triton_version()}"
    from torch._inductor.cpp_builder import get_cpp_compiler

    with failures_in_words():
        command = get_cpp_compiler()
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return told[0] if told else command


def _triton_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("triton", "pytorch-triton"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    raise PermanentFailure(
        "training.compile is true, and the package triton, by which torch compiles for a GPU, is missing; install it, "
        "or set training.compile to false"
    )
