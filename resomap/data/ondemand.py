"""Pixels decoded on demand: read and scaled from the image files at each access, to the bytes an array would hold."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from resomap.data.picture import Picture
from resomap.machine.cpus import available_cores


class OnDemand:
    """The pixels of a split, uint8 [N, size, size, C], indexed like an array by a number, a slice or numbers.

    It takes no disk, and time for each access: the files are read, checked against their digests, decoded and scaled by
    as many threads as this process has cores. Raises PermanentFailure where a file is another than it was.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, pictures: Sequence[Picture], shape: tuple[int, ...]) -> None:
        self._pictures = pictures
        self.shape = shape

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (picture.pixels() for picture in self._pictures)

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return self._pictures[int(chosen)].pixels()
        pixels = np.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        decoded = self._pool.map(lambda row: self._pictures[row].pixels(), chosen.tolist())
        for place, picture in enumerate(decoded):
            pixels[place] = picture
        return pixels

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Pool of threads, not processes: decoding, scaling and hashing run outside Python's lock."""
        return ThreadPoolExecutor(available_cores(), thread_name_prefix="decode")
