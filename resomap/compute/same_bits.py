"""Agreement of two computations: with other bytes in memory that nobody wrote, they must give the same bits.

Some kernels read memory that nobody wrote. oneDNN's gradients of bf16 convolutions on feature maps of a pixel or two do
(CPUs with AVX-512 bf16, torch 2.14): from one batch they give other weights each time, now and then NaN. What such
memory holds is left over from before, so that two computations can agree by chance. Here they cannot: the bytes are
set, to small numbers for the first and to NaN for the second.
"""

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from resomap.compute.device import Device, is_out_of_memory

Results = Mapping[str, Tensor]

# Of glibc's malloc.h. The bytes of a new block are the complement of the value's lowest byte, those of a freed block
# the value's. 0x55 makes new blocks of bf16 or float32 hold -3e-13; 0x100, whose lowest byte is 0 and which is not 0
# as that would end it, makes them NaN.
M_PERTURB = -6
SMALL_NUMBERS, NANS = 0x55, 0x100
BLOCKS = [2**power for power in range(26, 8, -1)]  # bytes, where memory is filled by hand
# Sums in another order differ by rounding; what was read from nowhere differs by anything.
ROUNDING = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two computations of the same, compared: results that differ in a bit, and those apart by more than rounding."""

    differing: tuple[str, ...]
    apart: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """True if each bit is the same."""
        return not self.differing


def compute_twice(compute: Callable[[], Results], device: Device) -> Comparison:
    """Call `compute` twice, with unwritten memory filled differently, and compare what it returns.

    It must return the same names each time, and no tensor that a later call writes to.
    """
    with _unwritten_memory(SMALL_NUMBERS, device):
        first = compute()
    with _unwritten_memory(NANS, device):
        second = compute()
    return compare(first, second)


def compare(first: Results, second: Results) -> Comparison:
    """Compare two results, tensors by name, bit by bit: NaN equals NaN, and 0.0 is not -0.0."""
    differing = [name for name in first if not _same_bits(first[name], second[name])]
    return Comparison(tuple(differing), tuple(name for name in differing if _are_apart(first[name], second[name])))


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(_bytes(one), _bytes(other))


def _bytes(values: Tensor) -> Tensor:
    return values.detach().contiguous().reshape(-1).view(torch.uint8)


def _are_apart(one: Tensor, other: Tensor) -> bool:
    one, other = one.detach().double(), other.detach().double()
    return not bool((one - other).norm() <= ROUNDING * one.norm())  # NaN is apart from everything


@contextlib.contextmanager
def _unwritten_memory(value: int, device: Device) -> Iterator[None]:
    """Have memory that is allocated and not written hold bytes given by `value` (see M_PERTURB)."""
    mallopt = None if device.is_cuda else getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        _fill_freed_memory(value & 0xFF ^ 0xFF, device)
        yield
        return
    mallopt(M_PERTURB, value)
    try:
        yield
    finally:
        mallopt(M_PERTURB, 0)


def _fill_freed_memory(byte: int, device: Device) -> None:
    """Fill blocks of many sizes and free them, where the allocator cannot do it: torch's on a GPU, macOS."""
    filled = []
    for size in BLOCKS:
        try:
            filled += [torch.full((size,), byte, dtype=torch.uint8, device=device.torch) for _ in range(2)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
