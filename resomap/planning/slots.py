"""Slots: how many trainings share a GPU, or the CPU, in one call of Snakemake, and how many of its shares a job takes.

A training whose predicted memory is more than its share takes the whole device. Light: no torch.
"""

import sys
from collections.abc import Collection, Iterator
from functools import cached_property

from resomap.cells import slots_choice
from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.text import counted
from resomap.estimates.device_memory import fits, most_trainings
from resomap.estimates.memory_request import MB, size_at
from resomap.machine.cgroups import memory_limit
from resomap.machine.gpus import gpu_memory
from resomap.planning.snakemake_api import SnakemakeApi
from resomap.train.slots_search import Question, ask


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
        """Trainings at a time on each device: as configured, as far as there is a core for each of them.

        Where the configuration leaves it open: of as many as fit into the memory, those that compute fastest.
        """
        wanted = self._study.config.gpu.per_device
        if not self._api.is_local or wanted == 1 or self._cores == 1:
            return 1
        if wanted != "auto":
            return min(wanted, self._cores)
        cells = [cell for cell in self._study.cells() if not cell.marker.exists()] or list(self._study.cells())
        if self._whole is None:
            return 1
        most = most_trainings(self._study, cells, self._kind, self._whole, self._cores)
        return most if most == 1 else self._fastest(most)

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

    def _fastest(self, most: int) -> int:
        """Return how many, at most `most`, compute fastest; `most` itself where that is not measured."""
        rates = slots_choice.read(self._study, self._kind, self._cores, most)
        if rates is None and self._api.executes:
            rates = self._measured(most)
        return most if rates is None else slots_choice.fastest(rates, most)

    def _measured(self, most: int) -> slots_choice.Rates | None:
        """Measure the rates of 1 to `most` trainings and keep them; None, said in a sentence, where that fails."""
        cells = [cell for cell in self._study.cells() if self._study.recipe(cell).trainable == "all"]
        fitting = [cell for cell in cells if self._whole and fits(self._study, cell, self._kind, self._whole, most)]
        if not fitting:
            return None
        cell = in_the_middle(fitting)
        device = "this GPU" if self._kind == "cuda" else "this CPU"
        print(
            f"gpu.per_device is auto: 1 to {most} trainings at a time of {cell.map_position} are tried on {device}, "
            "once for this study, about a minute ...",
            file=sys.stderr,
            flush=True,
        )
        config = self._study.config.model_dump()
        answer = ask(Question(config, cell.model, cell.resolution, self._kind, self._cores, most))
        if "rates" not in answer:
            print(f"that was not measured ({answer['reason']}): {most} fit into the memory", file=sys.stderr)
            return None
        slots_choice.write(self._study, self._kind, cell, self._cores, answer)
        return slots_choice.read(self._study, self._kind, self._cores, most)

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


def in_the_middle(cells: Collection[Cell]) -> Cell:
    """Return the cell by which trainings are tried: smaller ones and itself have half of all operations of these."""
    operations = {cell: size_at(cell.model, cell.resolution).forecast_flops(cell.resolution) for cell in cells}
    ordered = sorted(operations, key=lambda cell: (operations[cell], cell.name))
    half, sum_so_far = sum(operations.values()) / 2, 0.0
    for cell in ordered:
        sum_so_far += operations[cell]
        if sum_so_far >= half:
            return cell
    return ordered[-1]
