"""Rules `cost` and `costs`: the measurements of the grid, their settings and cores."""

import hashlib
import json
from functools import cached_property
from typing import Any

from resomap.cells.device_costs import device_files
from resomap.cells.measurement import EAGER_SCHEMA, KINDS, Measurement, class_count, measurements
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.image_files import MANIFEST


class CostRule:
    """Answers to the rules of cost. Each method takes Snakemake's wildcards, as input and params functions do."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._study = grid, grid.study
        self._classes: int | None = None

    def check(self, wildcards: Any) -> list[str]:
        """Return the input of a measurement: the list of images, so that minutes of measuring do not come before a
        sentence about the data; none where it stands, or where costs alone are asked for, which need no images.

        Figures of other settings are measured anew, whatever their time. Exits with one sentence where the target
        names no model, or one that does not take the resolution.
        """
        measurement = self._measurement(wildcards)
        if self._kept_settings(measurement) is not None and not self._grid.api.is_forced:
            return []
        if measurement.path.exists():
            self._grid.make_again(measurement.path)
        self._grid.want("cost", measurement.name)
        return [] if self._grid.api.asks_for_nothing_but("results/cost") else [str(MANIFEST)]

    def settings(self, wildcards: Any) -> str:
        """Return the param of a measurement: the settings that its figures depend on, as JSON."""
        return json.dumps(self._settings(self._measurement(wildcards)), sort_keys=True)

    def grid(self, _wildcards: Any) -> list[str]:
        """Return the input of the table: measurements of the grid on the kind of device that trains it, and costs that
        were taken in from other machines.
        """
        self._grid.set_up()
        return [str(path) for path in (*(one.path for one in self._measurements()), *device_files())]

    def grid_settings(self, _wildcards: Any) -> str:
        """Return the param of the table: a digest of the grid and of the settings that its figures depend on."""
        text = json.dumps([self._settings(measurement) for measurement in self._measurements()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def threads(self, wildcards: Any) -> int:
        """Return the CPU cores of a measurement: on a CPU all, so that no other job computes beside it."""
        if wildcards.kind == "cpu" and self._grid.api.is_local:
            return self._grid.cores()
        return self._grid.threads()

    def gpu(self, wildcards: Any) -> int:
        """Return the shares of a GPU that a measurement takes: all of one, so that no training computes beside it."""
        return self._grid.slots.each if wildcards.kind == "cuda" else 0

    def classes(self, *_: Any) -> int:
        """Return the number of classes of the data source; counted once, and only where a step has to know."""
        if self._classes is None:
            with one_sentence():
                self._classes = class_count(self._study.config.data)
        return self._classes

    def _measurements(self) -> list[Measurement]:
        named = self._study.config.report.device
        return measurements(self._study, named if named in KINDS else self._grid.device_kind)

    def _measurement(self, wildcards: Any) -> Measurement:
        with one_sentence():
            cell = self._study.target(wildcards.model, wildcards.resolution, "")
            self._grid.set_up()
            return Measurement(cell.model, cell.resolution, wildcards.kind)

    def _kept_settings(self, measurement: Measurement) -> dict[str, Any] | None:
        """Return the settings of figures that stand as they are; None where it is to be measured.

        Those of an earlier version, in eager PyTorch, stand as long as nothing of the grid is measured beside them:
        figures of two runtimes are never compared.
        """
        with one_sentence():
            found = measurement.kept(self._study, self.classes())
            if found is None:
                return None
            settings: dict[str, Any] = found["settings"]
            is_eager = settings["schema"] == EAGER_SCHEMA
            if is_eager and (measurement.kind not in self._whole_grids or self._grid.api.is_forced):
                return None
            return settings

    @cached_property
    def _whole_grids(self) -> list[str]:
        """Kinds of device of which the whole grid is measured, whatever the version."""
        return [
            kind
            for kind in KINDS
            if all(one.kept(self._study, self.classes()) is not None for one in measurements(self._study, kind))
        ]

    def _settings(self, measurement: Measurement) -> dict[str, Any]:
        """Return the settings of the figures that stand, else those by which it is to be measured."""
        with one_sentence():
            return self._kept_settings(measurement) or measurement.settings(self._study, self.classes())
