"""Arrays of several splits as one: the images of the first, then those of the next, read where each of them lies."""

from collections.abc import Sequence
from typing import Any

import numpy as np


class JoinedPixels:
    """Arrays uint8 [N, size, size, C], indexed like one that holds them one behind the other; none is copied."""

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            found: np.ndarray = self[chosen[None]][0]
            return found
        part_of = np.searchsorted(self._ends, chosen, side="right")
        pixels = np.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        for index, part in enumerate(self._parts):
            places = part_of == index
            if places.any():
                pixels[places] = part[chosen[places] - (self._ends[index] - len(part))]
        return pixels
