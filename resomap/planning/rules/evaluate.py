"""Rules `evaluate` and `evaluations`: images that an evaluation still needs, and the grid's records."""

from collections.abc import Collection
from typing import Any

from resomap.cells import evaluation_record
from resomap.cells.marker import Marker
from resomap.planning.grid import Grid
from resomap.planning.rules.images import ImagesRule
from resomap.planning.snakemake_api import asked_often


class EvaluateRule:
    """Answers to the rules of evaluation: trained cells at every resolution of the configuration."""

    def __init__(self, grid: Grid, images: ImagesRule) -> None:
        self._grid, self._images = grid, images

    def records(self, _wildcards: Any = None) -> list[str]:
        """Return the paths of the evaluation records of the grid's cells."""
        return [str(evaluation_record.record_path(cell)) for cell in self._grid.cells_here()]

    @asked_often
    def threads(self, *_: Any) -> int:
        """Return the CPU cores of an evaluation: those of a training."""
        return self._grid.threads()

    @asked_often
    def images(self, wildcards: Any) -> list[str]:
        """Return the file of the images at the resolutions that an evaluation has to compute; none where it has none.

        A record that lacks some of them is written anew, whatever its modification time and Snakemake's metadata
        say; one that has more stands, so that a sub-grid evaluates nothing.
        """
        cell = self._grid.cell(wildcards)
        if not self._grid.api.is_main_process:
            return []  # the plan has seen to them, and which ones is not to be told from here: the record is away
        wanted: Collection[int] = {cell.resolution, *self._grid.config.resolutions}
        marker = Marker.read(cell.marker) if self._grid.is_done(cell) else None
        if marker is None:  # at its own resolution the training keeps its predictions: its images are there anyhow
            has_weights = "best" in self._grid.config.checkpoints.keep
        else:
            wanted = evaluation_record.missing(cell, marker, wanted)
            if wanted:
                self._grid.make_again(evaluation_record.record_path(cell))
            has_weights = any(path.exists() for path in evaluation_record.weights_paths(cell, marker.fingerprint))
            has_weights |= marker.is_from_tracker and marker.weights_in_tracker
        if wanted:
            self._grid.want("evaluate", cell.name)
        if not has_weights:
            return []  # nothing can be computed, and the record says so: that takes no images
        return self._images.ready(wanted)
