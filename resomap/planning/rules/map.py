"""What the rules `map` and `report` ask: whether the map on disk is of this study."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from resomap.planning.grid import Grid
from resomap.planning.rules.evaluate import EvaluateRule
from resomap.summary.basis import SUMMARY, basis, is_current


class MapRule:
    """The map of the planned grid. `path`: where its steps find the study."""

    def __init__(self, grid: Grid, evaluations: EvaluateRule, path: Path) -> None:
        self._grid, self._study = grid, grid.study
        self._evaluations, self._path = evaluations, path

    @property
    def device_kind(self) -> str:
        """The kind of device whose costs count: the one that trains the grid."""
        return self._grid.device_kind

    def check(self, _wildcards: Any) -> list[str]:
        """Input of the map: none. One of another study, or of an incomplete grid, is made anew whatever its time.

        One whose evaluations are not all there, too: Snakemake would not miss what lies behind a file that is there.
        """
        if SUMMARY.exists() and not (is_current(self._study) and self._is_evaluated()):
            self._grid.make_again(SUMMARY)
        return []

    def _is_evaluated(self) -> bool:
        return all(map(os.path.exists, self._evaluations.records()))

    def basis(self, _wildcards: Any) -> str:
        """The only param of the map: everything that is asked for."""
        return basis(self._study)

    def of_what_is_there(self) -> None:
        """Make map and report after a failure, when the rules have not run; they name what is missing."""
        if any(cell.marker.exists() for cell in self._study.cells()):
            for step in ("map", "report"):
                words = [sys.executable, "-m", "resomap", step, "--study", str(self._path)]
                subprocess.run(words, check=False, stdin=subprocess.DEVNULL)
