"""What the rules `cost` and `costs` ask: what to measure, under which settings, with how many cores."""

import hashlib
import json
from typing import Any

from resomap.cells.measurement import Measurement, class_count, measurements
from resomap.planning.grid import Grid, one_sentence


class CostRule:
    """The costs of the planned grid. Each method takes Snakemake's wildcards, as input and params functions do."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study
        self._classes: int | None = None

    def check(self, wildcards: Any) -> list[str]:
        """Input of a measurement: none. Figures of other settings are measured anew, whatever their time.

        Stops with one sentence where the target names no model, or one that does not take the resolution.
        """
        measurement = self._measurement(wildcards)
        if measurement.path.exists() and measurement.read(self._settings(measurement)) is None:
            self._grid.make_again(measurement.path)
        return []

    def settings(self, wildcards: Any) -> str:
        """Param of a measurement: what its figures depend on."""
        return json.dumps(self._settings(self._measurement(wildcards)), sort_keys=True)

    def grid(self, _wildcards: Any) -> list[str]:
        """Input of the table: the configuration's models and resolutions, on the kind of device that trains them."""
        self._grid.announce()
        return [str(measurement.path) for measurement in self._measurements()]

    def grid_settings(self, _wildcards: Any) -> str:
        """Param of the table: it changes with the grid and with what its figures depend on."""
        text = json.dumps([self._settings(measurement) for measurement in self._measurements()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def threads(self, wildcards: Any) -> int:
        """CPU cores of a measurement: all of them on a CPU, so that nothing else of the workflow computes beside it."""
        if wildcards.kind == "cpu" and self._grid.api.is_local:
            return self._grid.cores()
        return self._grid.threads()

    def classes(self, *_: Any) -> int:
        """How many classes the data source has; counted once, and only where a step has to know."""
        if self._classes is None:
            with one_sentence():
                self._classes = class_count(self._study.config.data)
        return self._classes

    def _measurements(self) -> list[Measurement]:
        return measurements(self._study, self._grid.device_kind)

    def _measurement(self, wildcards: Any) -> Measurement:
        with one_sentence():
            cell = self._study.target(wildcards.model, wildcards.resolution, "")
            self._grid.announce()
            return Measurement(cell.model, cell.resolution, wildcards.kind)

    def _settings(self, measurement: Measurement) -> dict[str, Any]:
        with one_sentence():
            return measurement.settings(self._study, self.classes())
