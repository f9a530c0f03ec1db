"""Rows of prepared images, as a fold sees them: a view, so that all folds read one array and nothing is copied."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from resomap.data.joined_pixels import JoinedPixels
from resomap.data.ondemand import OnDemand
from resomap.data.verified_pixels import VerifiedPixels


class ChosenRows:
    """Chosen images of uint8 [N, size, size, C], indexed like an array by a number, a slice or numbers."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, pixels: "np.ndarray | VerifiedPixels | OnDemand | ChosenRows | JoinedPixels", rows: np.ndarray
    ) -> None:
        self._pixels, self._rows = pixels, rows
        self.shape: tuple[int, ...] = (len(rows), *pixels.shape[1:])

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self._pixels[self._rows[rows]])
