"""The prepared images as the plan sees them: which files a training needs, when they are made, and whether they are
whole. Light: sizes are compared, no array is read."""

import math
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake.io import temp

from resomap.cells.cell import Cell
from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.planning.snakemake_api import Engine

if TYPE_CHECKING:
    from resomap.planning.planner import Planner

SPLITS = ("train", "val", "test")
PREAMBLE = 10  # bytes of a .npy file before its header: magic, version, the header's length


class Images:
    """Inputs and outputs of the rules that have to do with images."""

    def __init__(self, planner: "Planner", engine: Engine) -> None:
        self._planner, self._engine = planner, engine
        self._keeps_train = planner.config.data.keep_train
        self._checked: set[int] = set()  # resolutions

    @property
    def passing(self) -> list[str]:
        """Output of the step that prepares a resolution, deleted when the last of its trainings is done."""
        return [] if self._keeps_train else [temp("results/data/{resolution}/train.npy")]

    def of(self, cell: Cell) -> list[str]:
        """What a training of the cell reads; made again where what is there is not whole."""
        store = store_file(cell.resolution)
        if self._engine.is_planning and cell.resolution not in self._checked:
            self._checked.add(cell.resolution)
            if broken := broken_file(store.parent, SPLITS if self._keeps_train else SPLITS[1:]):
                print(
                    f"{broken} is not whole: the images of {cell.resolution} pixels are prepared anew", file=sys.stderr
                )
                self._engine.make_again(store)
        return [str(store), *([] if self._keeps_train else [str(store.with_name("train.npy"))])]

    def ready(self, resolutions: Collection[int]) -> list[str]:
        """The one file, if any, that says that the images of these resolutions are there."""
        if len(resolutions) > 1:
            return [str(ready_file("-".join(map(str, sorted(resolutions)))))]
        return [str(store_file(resolution)) for resolution in resolutions]

    def stores(self, wildcards: Any) -> list[str]:
        """Input of the step behind such a file of several resolutions."""
        stores = [store_file(int(resolution)) for resolution in wildcards.resolutions.split("-")]
        if self._engine.is_planning and not all(store.exists() for store in stores):
            # A run that failed leaves the file: Snakemake would not ask for what lies behind it.
            self._engine.make_again(ready_file(wildcards.resolutions))
        return [str(store) for store in stores]

    def priority(self, wildcards: Any) -> int:
        """Of the images of a resolution: above all trainings at once, the longest one's first.

        The step takes all cores: behind the first training it would wait until all that are ready are done.
        """
        if not self._engine.is_planning:
            return 0
        planned = self._planner.planned
        priorities = (self._planner.rank(cell) for cell in planned if str(cell.resolution) == wildcards.resolution)
        at_once = self._engine.gpus if self._engine.is_local else 1
        return at_once * (len(planned) + 1) + max(priorities, default=0)


def store_file(resolution: int) -> Path:
    """What says that the images of a resolution are there: they lie beside it."""
    return DATA_DIRECTORY / str(resolution) / "store.json"


def ready_file(resolutions: str) -> Path:
    """What says so of several: `224-320` in one file's name."""
    return DATA_DIRECTORY / f"{resolutions}.ready"


def broken_file(place: Path, splits: tuple[str, ...]) -> Path | None:
    """An array that is missing, or has another size than store.json says; None where all is well or nothing there."""
    content = read_json(place / "store.json")
    if not isinstance(content, dict) or not content.get("is_stored", True):
        return None
    for split in splits:
        path = place / f"{split}.npy"
        try:
            expected = math.prod(content["splits"][split]["shape"])
            with path.open("rb") as stream:
                preamble = stream.read(PREAMBLE)
            header = struct.unpack("<8xH", preamble)[0]
            if path.stat().st_size != PREAMBLE + header + expected:
                return path
        except (OSError, KeyError, TypeError, struct.error):
            return path
    return None
