"""Files of a frozen network's features: chunks, each with its checksum, and a list, written last.

Chunks lie in a folder named after all that decides their bits, so that a step which was killed goes on with the next
one, and no chunk of other weights, images or kernels is ever taken for ours.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resomap.cells import shared_features
from resomap.cells.cell import Cell
from resomap.compute.checkpoint import DamagedCheckpoint, load_sealed, save_sealed
from resomap.core.files import write_json
from resomap.core.sealed_json import sealed
from resomap.data.chosen_rows import ChosenRows
from resomap.data.store import Images, Pixels

CHUNK_IMAGES = 1024  # at least one batch; whole batches, whose size decides bits

Compute = Callable[[Pixels], Tensor]


class FeatureFiles:
    """Files of the features of one network at one resolution, under a key: all that decides their bits."""

    def __init__(self, cell: Cell, key: Mapping[str, Any]) -> None:
        self._cell, self._key = cell, dict(key)
        text = json.dumps(self._key, sort_keys=True)
        self._list = shared_features.path_of(cell.model, cell.resolution)
        self._folder = self._list.with_suffix("") / hashlib.sha256(text.encode()).hexdigest()[:12]

    def read(self, splits: Mapping[str, Images]) -> dict[str, Tensor] | None:
        """Return the features of the splits' images, float32 [N, D], in main memory.

        None where the list names none under this key, or a chunk is missing or damaged.
        """
        content = shared_features.read_list(self._cell)
        if content is None or content.get("key") != self._key:
            return None
        found = {split: list(map(self._chunk, self._chunks(split, images))) for split, images in splits.items()}
        if any(chunk is None for chunks in found.values() for chunk in chunks):
            return None
        return {split: torch.cat([chunk for chunk in chunks if chunk is not None]) for split, chunks in found.items()}

    def write(self, splits: Mapping[str, Images], compute: Compute, settings: Mapping[str, Any]) -> tuple[int, int]:
        """Compute the chunks that are not there, then write the list; returns the numbers of chunks found and made.

        `compute` gives the features of stored pixels. Chunks of other keys are deleted. Raises OSError.
        """
        found = made = 0
        for split, images in splits.items():
            for path, rows in self._chunks(split, images):
                if self._chunk((path, rows)) is not None:
                    found += 1
                    continue
                features = compute(ChosenRows(images.pixels, rows))
                save_sealed(path, {"rows": len(rows), "features": features.cpu()})
                made += 1
        write_json(self._list, sealed({"schema": shared_features.SCHEMA, "settings": dict(settings), "key": self._key}))
        for other in self._folder.parent.iterdir():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        return found, made

    def _chunks(self, split: str, images: Images) -> Iterator[tuple[Path, np.ndarray]]:
        """Yield the path of each chunk of a split and the rows of its images, in their order."""
        batch = int(self._key["batch"])
        each = batch * max(1, CHUNK_IMAGES // batch)
        for start in range(0, len(images.labels), each):
            rows = np.arange(start, min(start + each, len(images.labels)))
            yield self._folder / f"{split}-{start}.pt", rows

    def _chunk(self, chunk: tuple[Path, np.ndarray]) -> Tensor | None:
        path, rows = chunk
        try:
            content = load_sealed(path)
        except (FileNotFoundError, DamagedCheckpoint):
            return None
        features = content.get("features")
        if not isinstance(features, Tensor) or features.dim() != 2 or len(features) != len(rows):
            return None
        return features.clone()
