"""Blocks: the images of a manifest that are not independent of each other, for statistics that must not count them so.

A block unites images of one user's group (`data.groups`), of one content, and near-duplicates that the split keeps
together. It is a fact of the images: no seed and no shares of a split enter it.
"""

from collections.abc import Sequence

import numpy as np

from resomap.data.manifest import Entry
from resomap.data.split import blocks


def block_indices(entries: Sequence[Entry]) -> np.ndarray:
    """Return the block of each image, int64 [N]: numbers from 0, in the order in which the blocks first appear.

    Images with one number belong together. Entries of a manifest that knows no blocks are united by their files'
    digests, so that at least copies of one file are one block.
    """
    block_of = blocks({entry.name: _keys(entry) for entry in entries})
    number: dict[str, int] = {}
    return np.array([number.setdefault(block_of[entry.name], len(number)) for entry in entries], dtype=np.int64)


def _keys(entry: Entry) -> list[str]:
    keys = [f"file {entry.sha256}", f"block {entry.block or entry.name}"]
    return [*keys, f"group {entry.group}"] if entry.group is not None else keys
