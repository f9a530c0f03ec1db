"""Rule `export`: the images that an export is verified on, and its precision."""

from typing import Any

from resomap.planning.grid import Grid
from resomap.planning.rules.images import ImagesRule
from resomap.planning.snakemake_api import asked_often


class ExportRule:
    """Answers to the rule of exports: one cell as an ONNX file."""

    # Of the wildcards that only this rule has: what stands between the resolution and `.onnx`.
    suffix = r"(\.(fold|seed)[^/.]*)*"
    precision = r"(\.(fp16|int8))?"

    def __init__(self, grid: Grid, images: ImagesRule) -> None:
        self._grid, self._images = grid, images

    @asked_often
    def images(self, wildcards: Any) -> list[str]:
        """Return the file of the images at the cell's resolution."""
        cell = self._grid.cell(wildcards)
        return self._images.ready([cell.resolution]) if self._grid.api.is_main_process else []

    @staticmethod
    @asked_often
    def precision_of(wildcards: Any) -> str:
        """Return the precision that a file's name tells; none is fp32."""
        return str(wildcards.precision).removeprefix(".") or "fp32"
