"""Rules `data`, `images` and `stores`: the prepared images that are needed, and when they are made."""

import sys
from collections.abc import Collection
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.names import resolution_of
from resomap.data import DATA_DIRECTORY
from resomap.data.folds import splits_of
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.image_files import MANIFEST, broken_file, is_scaled_by_each_image, ready_file, store_file
from resomap.planning.snakemake_api import deleted_after_use


class ImagesRule:
    """Answers to the rules of images: their inputs and outputs, cores and priority."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._api = grid, grid.api
        self._keeps_train = grid.config.data.keep_train
        self._splits = splits_of(grid.config.data.folds)
        self._checked: set[int] = set()  # sizes

    def cores(self, *_: Any) -> int:
        """Return the CPU cores of the steps that read the source images: all of them."""
        return self._grid.cores()

    def sources(self, _wildcards: Any) -> list[str]:
        """Return the inputs of the check: none, once it is known whether files were changed in place."""
        self._grid.set_up()
        return []

    def identity(self, _wildcards: Any) -> str:
        """Return a param of these steps: the identity of the data."""
        self._grid.set_up()
        return self._grid.study.data_identity

    def manifest(self, wildcards: Any) -> list[str]:
        """Return the input of a resolution's images: the list of all. Exits with one sentence where it is none."""
        with one_sentence():
            size = resolution_of(wildcards.resolution, f"results/data/{wildcards.resolution}/store.json")
            self._grid.set_up()
        if self._api.is_local and not store_file(size).exists():  # on a cluster each job has a node of its own
            self._grid.want("images", str(size))
        return [str(DATA_DIRECTORY / "manifest.json")]

    @property
    def temporary_output(self) -> list[str]:
        """Training images of a resolution, deleted after the last of its trainings; empty where they are kept."""
        return [] if self._keeps_train else [deleted_after_use("results/data/{resolution}/train.npy")]

    def for_training(self, cell: Cell) -> list[str]:
        """Return the prepared images that a training of the cell reads; have them made again where they are damaged."""
        return self.of_sizes(self._grid.study.stored_sizes(cell))

    def of_sizes(self, sizes: Collection[int]) -> list[str]:
        """Return the prepared images of these sizes in pixels, as `for_training` does."""
        if self._api.is_planning and not self._checked and is_scaled_by_each_image():
            print("images whose files do not tell their depth get one scale: all are checked anew", file=sys.stderr)
            self._grid.make_again(MANIFEST)
        needed = []
        for size in sizes:
            store = store_file(size)
            if self._api.is_planning and size not in self._checked:
                self._checked.add(size)
                if broken := broken_file(store.parent, self._splits if self._keeps_train else self._splits[1:]):
                    print(f"{broken} is not whole: the images of {size} pixels are prepared anew", file=sys.stderr)
                    self._grid.make_again(store)
            needed += [str(store), *([] if self._keeps_train else [str(store.with_name("train.npy"))])]
        return needed

    def ready(self, resolutions: Collection[int]) -> list[str]:
        """Return the file, if any is needed, that marks the images of these resolutions as prepared."""
        if len(resolutions) > 1:
            return [str(ready_file("-".join(map(str, sorted(resolutions)))))]
        return [str(store_file(resolution)) for resolution in resolutions]

    def stores(self, wildcards: Any) -> list[str]:
        """Return the input of a ready file of several resolutions: the store.json of each."""
        with one_sentence():
            target = str(ready_file(wildcards.resolutions))
            stores = [store_file(resolution_of(part, target)) for part in wildcards.resolutions.split("-")]
        if self._api.is_planning and not all(store.exists() for store in stores):
            # A run that failed leaves the file: Snakemake would not ask for what lies behind it.
            self._grid.make_again(ready_file(wildcards.resolutions))
        return [str(store) for store in stores]

    def priority(self, wildcards: Any) -> int:
        """Return the priority of a resolution's images: above all trainings at once, the longest one's first.

        The step takes all cores: behind the first training it would wait until all that are ready are done.
        """
        if not self._api.is_planning:
            return 0
        planned = self._grid.planned
        size, sizes = wildcards.resolution, self._grid.study.stored_sizes
        priorities = (self._grid.rank(cell) for cell in planned if size in map(str, sizes(cell)))
        at_once = self._api.trainings if self._api.is_local else 1
        return at_once * (len(planned) + 1) + max(priorities, default=0)
