"""What the rule of the map asks: whether the map on disk is of this study. Light: planning reads it."""

import os
import subprocess
import sys
from typing import Any

from resomap.planning.planner import Planner
from resomap.summary.basis import SUMMARY, basis, is_current


class MapPlan:
    """The map of the planned grid."""

    def __init__(self, planner: Planner) -> None:
        self._planner, self._study = planner, planner.study

    @property
    def device_kind(self) -> str:
        """Whose costs count: those of the kind of device that trains the grid."""
        return self._planner.device_kind()

    def check(self, _wildcards: Any) -> list[str]:
        """Input of the map: none. One of another study, or of an incomplete grid, is made anew whatever its time.

        One whose evaluations are not all there, too: Snakemake would not miss what lies behind a file that is there.
        """
        if SUMMARY.exists() and not (is_current(self._study) and self._is_evaluated()):
            self._planner.make_again(SUMMARY)
        return []

    def _is_evaluated(self) -> bool:
        return all(map(os.path.exists, self._planner.evaluations()))

    def basis(self, _wildcards: Any) -> str:
        """The only param of the map: what it is asked for."""
        return basis(self._study)

    def of_what_is_there(self) -> None:
        """After a failure, when the rules have not run: map and report all the same, which name what is missing."""
        if any(cell.marker.exists() for cell in self._study.cells()):
            for step in ("map", "report"):
                words = [sys.executable, "-m", "resomap", step, "--study", str(self._planner.path)]
                subprocess.run(words, check=False, stdin=subprocess.DEVNULL)
