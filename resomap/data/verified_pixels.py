"""Seal of prepared images: digests of each image's pixels, and arrays that are verified before they are used.

An array is verified whole when it is opened, once per process; one of more than a gigabyte in blocks, each when it is
first read, so that a training of it need not wait until all is read.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resomap.core.errors import ResomapError

BLOCK_BYTES = 2**20  # about: a block holds whole images
WHOLE_BYTES = 10**9  # of an array that is verified when it is opened; above, block by block
SMALLEST_STD = 1 / 255  # images that are all of one colour must not be divided by zero
# Arrays that this process has verified: path, inode, size, time, digest.
_verified: set[tuple[Any, ...]] = set()


@dataclass(frozen=True)
class Summary:
    """Summary of one prepared image: the digest of its bytes; per channel the sums of values and of squares."""

    digest: str
    sums: tuple[int, ...]
    squares: tuple[int, ...]

    @classmethod
    def of(cls, pixels: np.ndarray) -> "Summary":
        """Summarise pixels uint8 [size, size, channels]."""
        flat = pixels.reshape(-1, pixels.shape[-1]).astype(np.int64)
        return cls(
            row_digest(pixels),
            tuple(int(value) for value in flat.sum(axis=0)),
            tuple(int(value) for value in (flat * flat).sum(axis=0)),
        )


def mean_and_std(rows: Sequence[Summary], size: int) -> dict[str, list[float]]:
    """Return mean and standard deviation per channel, of values scaled to 0..1.

    They are summed as whole numbers, so that no order changes a digit.
    """
    number = len(rows) * size * size
    mean, std = [], []
    for channel in range(len(rows[0].sums)):
        total = sum(row.sums[channel] for row in rows)
        squares = sum(row.squares[channel] for row in rows)
        mean.append(total / number / 255)
        std.append(max(SMALLEST_STD, math.sqrt(number * squares - total * total) / number / 255))
    return {"mean": mean, "std": std}


def row_digest(pixels: np.ndarray) -> str:
    """Return the digest of one image's bytes."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def joint_digest(digests: Iterable[str]) -> str:
    """Return the digest of several images, from their own."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def block_digests(digests: Sequence[str], bytes_each: int) -> dict[str, Any]:
    """Return the digests of an array's blocks as store.json has them, from those of its images in order.

    With `bytes_each` 0 each image is a block: those that are not stored are read one by one.
    """
    rows = max(1, BLOCK_BYTES // bytes_each) if bytes_each else 1
    parts = (digests[start : start + rows] for start in range(0, len(digests), rows))
    return {"rows": rows, "digests": [joint_digest(part) for part in parts]}


class VerifiedPixels:
    """Array uint8 [N, size, size, C], indexed like one, whose blocks are verified when they are first read.

    Raises what `damaged` makes, before a byte of a block is handed out that is not what was written.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, pixels: np.ndarray, rows: int, digests: Sequence[str], damaged: Callable[[], Exception]) -> None:
        self._pixels, self._rows, self._digests, self._damaged = pixels, rows, digests, damaged
        self._is_verified = np.zeros(len(digests), dtype=bool)
        self.shape = pixels.shape
        if len(digests) != math.ceil(len(pixels) / rows):
            raise damaged()

    def __len__(self) -> int:
        return len(self._pixels)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Any) -> np.ndarray:
        touched = np.unique(np.atleast_1d(np.arange(len(self))[rows]) // self._rows)
        for block in touched[~self._is_verified[touched]].tolist():
            self._verify(block)
        found: np.ndarray = self._pixels[rows]
        return found

    def verify(self) -> None:
        """Verify the blocks that were not read yet."""
        for block in np.flatnonzero(~self._is_verified).tolist():
            self._verify(block)

    def _verify(self, block: int) -> None:
        inside = self._pixels[block * self._rows : (block + 1) * self._rows]
        if joint_digest(map(row_digest, inside)) != self._digests[block]:
            raise self._damaged()
        self._is_verified[block] = True


def verified(
    path: Path, pixels: np.ndarray, listed: dict[str, Any], damaged: Callable[[], ResomapError]
) -> np.ndarray | VerifiedPixels:
    """Return a mapped array as it may be used: verified, or block by block as it is read.

    `listed` is what store.json has of it; one of an earlier version has no blocks, and its array is verified whole.
    """
    status = path.stat()
    key = (path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns, listed["digest"])
    if key in _verified:
        return pixels
    if "blocks" in listed:
        blocks = VerifiedPixels(pixels, listed["blocks"]["rows"], listed["blocks"]["digests"], damaged)
        if pixels.nbytes > WHOLE_BYTES:
            return blocks
        blocks.verify()
    elif joint_digest(map(row_digest, pixels)) != listed["digest"]:
        raise damaged()
    _verified.add(key)
    return pixels
