"""Slots: how many trainings share a GPU, or the CPU, in one call of Snakemake, and how many of its shares a job takes.

A training whose predicted memory is more than its share takes the whole device. Light: no torch.
"""

from collections.abc import Iterator
from functools import cached_property

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.text import counted
from resomap.estimates.device_memory import fits, most_trainings
from resomap.estimates.memory_request import MB
from resomap.machine.cgroups import memory_limit
from resomap.machine.gpus import gpu_memory
from resomap.planning.snakemake_api import SnakemakeApi


class Slots:
    """Slots of the devices of a call, each of the kind `cpu` or `cuda`; a job of a cluster has a device to itself."""

    def __init__(self, study: Study, api: SnakemakeApi, kind: str) -> None:
        self._study, self._api, self._kind = study, api, kind

    @property
    def devices(self) -> int:
        """Devices that train: the GPUs of a local run, or its one CPU."""
        return self._api.gpus if self._kind == "cuda" else 1

    @cached_property
    def each(self) -> int:
        """Trainings at a time on each device: as configured, as far as there is a core for each of them."""
        wanted = self._study.config.gpu.per_device
        if not self._api.is_local or wanted == 1 or self._cores == 1:
            return 1
        if wanted != "auto":
            return min(wanted, self._cores)
        cells = [cell for cell in self._study.cells() if not cell.marker.exists()] or list(self._study.cells())
        if self._whole is None:
            return 1
        return most_trainings(self._study, cells, self._kind, self._whole, self._cores)

    def taken_by(self, cell: Cell) -> int:
        """Return how many of a device's shares a training takes: one, or all where it does not fit into one."""
        if self.each == 1 or self._whole is None:
            return 1
        return 1 if fits(self._study, cell, self._kind, self._whole, self.each) else self.each

    @property
    def by_mps(self) -> bool:
        """True if trainings of this call that share a GPU do so by MPS."""
        return self._study.config.gpu.mps and self._kind == "cuda" and self.each > 1

    def sentences(self) -> Iterator[str]:
        """Yield, for the terminal, how trainings share the devices, and what stands against more of them."""
        wanted, device = self._study.config.gpu.per_device, "each GPU" if self._kind == "cuda" else "the CPU"
        cores = self._api.cores
        if self.each > 1:
            threads = counted(cores // (self.devices * self.each), "core")
            yield f"{self.each} trainings at a time share {device}, with {threads} each"
            if self.by_mps:
                yield "they compute at the same time by MPS, so that none of them is exact"
        if self._study.config.gpu.mps and not self.by_mps:
            yield "gpu.mps is true, but no trainings share a GPU here: MPS is not started"
        if (wanted == "auto" and self._cores == 1) or (wanted != "auto" and self._cores < wanted):
            runs = f"{self.each} trainings run" if self.each > 1 else "one training runs"
            yield (
                f"gpu.per_device is {wanted}, but with --cores {cores} {runs} at a time on {device}: "
                "each of several needs a core of its own (--cores)"
            )

    @property
    def _cores(self) -> int:
        """Cores for the trainings of one device."""
        return max(1, self._api.cores // self.devices)

    @cached_property
    def _whole(self) -> int | None:
        """Memory of a device in bytes; None where it is not known."""
        if self._kind == "cuda":
            return gpu_memory()
        known, limit = self._api.memory_mb * MB, memory_limit()
        return min(known, limit[1]) if limit else known
