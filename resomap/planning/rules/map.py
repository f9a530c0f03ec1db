"""Rules `map` and `report`: whether the map on disk is of this study, and both after a failure."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from resomap.cells.device_costs import is_elsewhere, named_costs
from resomap.cells.winner_cell import Winner
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.interruption import interruption
from resomap.planning.rules.evaluate import EvaluateRule
from resomap.summary.basis import SUMMARY, basis, is_current

REPORT = Path("results", "report.html")


class MapRule:
    """Answers to the rules of map and report. `path` is the study file that its steps read."""

    def __init__(self, grid: Grid, evaluations: EvaluateRule, path: Path) -> None:
        self._grid, self._study = grid, grid.study
        self._evaluations, self._path = evaluations, path

    @property
    def device_kind(self) -> str:
        """Kind of device whose costs count: the one that trains the grid."""
        return self._grid.device_kind

    def check(self, _wildcards: Any) -> list[str]:
        """Return the input of the map: none. One of another study or an incomplete grid is made anew.

        So is one whose evaluations are not all there: Snakemake would not miss inputs of a file that is there. Exits
        with one sentence where the costs that are to decide were never taken in.
        """
        if is_elsewhere(self._study.config.report):
            with one_sentence():
                named_costs(self._study.config.report)
        if SUMMARY.exists() and not (is_current(self._study) and self._is_evaluated()):
            self._grid.make_again(SUMMARY)
        return []

    def _is_evaluated(self) -> bool:
        return all(map(os.path.exists, self._evaluations.records()))

    def check_report(self, _wildcards: Any) -> list[str]:
        """Return a further input of the report: none. One that is older than a winner is made anew, to show it."""
        winner = Winner.of_any_cell().marker
        if REPORT.exists() and winner.exists() and REPORT.stat().st_mtime_ns < winner.stat().st_mtime_ns:
            self._grid.make_again(REPORT)
        return []

    def basis(self, _wildcards: Any) -> str:
        """Return the only param of the map: the digest of the settings that it is made for."""
        return basis(self._study)

    def make_partial(self) -> None:
        """Make map and report of the cells that are done, after a failure; they name what is missing."""
        if interruption.is_asked:
            return  # a person wants it to stop, and the same command goes on
        if any(cell.marker.exists() for cell in self._study.cells()):
            for step in ("map", "report"):
                words = [sys.executable, "-m", "resomap", step, "--study", str(self._path)]
                subprocess.run(words, check=False, stdin=subprocess.DEVNULL)
