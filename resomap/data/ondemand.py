"""Pixels decoded on demand: read and scaled from the image files at each access, to the bytes an array would hold."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from resomap.core.errors import PermanentFailure
from resomap.data.picture import Picture
from resomap.data.verified_pixels import joint_digest, row_digest
from resomap.machine.cpus import available_cores


class OnDemand:
    """The pixels of a split, uint8 [N, size, size, C], indexed like an array by a number, a slice or numbers.

    It takes no disk, and time for each access: the files are read, checked against their digests, decoded and scaled by
    as many threads as this process has cores, and the pixels against `digests` (see verified_pixels.py; None: unknown,
    as in stores of earlier versions). Raises PermanentFailure where a file, or what is decoded from it, is another.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, pictures: Sequence[Picture], shape: tuple[int, ...], digests: Sequence[str] | None = None
    ) -> None:
        self._pictures, self._digests = pictures, digests
        self.shape = shape

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._decoded, range(len(self)))

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return self._decoded(int(chosen))
        pixels = np.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        decoded = self._pool.map(self._decoded, chosen.tolist())
        for place, picture in enumerate(decoded):
            pixels[place] = picture
        return pixels

    def _decoded(self, row: int) -> np.ndarray:
        pixels = self._pictures[row].pixels()
        if self._digests is not None and joint_digest([row_digest(pixels)]) != self._digests[row]:
            raise PermanentFailure(
                f"{self._pictures[row].name} is decoded to other pixels than when the images were prepared (by other "
                "versions of Pillow or NumPy?); install those again, or remove the store.json of this resolution and "
                "run the same snakemake command again, which prepares them anew"
            )
        return pixels

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Pool of threads, not processes: decoding, scaling and hashing run outside Python's lock."""
        return ThreadPoolExecutor(available_cores(), thread_name_prefix="decode")
