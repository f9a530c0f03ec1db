"""The grid in one call of Snakemake: the cells behind targets, their state, order and device."""

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.cells.wanted import Kind
from resomap.core.errors import ResomapError, refusal
from resomap.core.gc_control import spare_collector
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import prepared_digest
from resomap.data.left_out import in_words, left_out
from resomap.estimates.duration import Durations
from resomap.estimates.order import Order
from resomap.machine.gpus import may_have_gpu
from resomap.models.fits import require_supported
from resomap.planning.cells_plan import CellsPlan
from resomap.planning.image_files import MANIFEST, look_for_changes
from resomap.planning.run_start import RunStart
from resomap.planning.slots import Slots
from resomap.planning.snakemake_api import SnakemakeApi, asked_often
from resomap.tracking.elsewhere import Elsewhere


class Grid:
    """Cells of one study in one call of Snakemake, with all that the rules share."""

    def __init__(self, study: Study, api: SnakemakeApi, cells: CellsPlan, start: RunStart) -> None:
        self.study, self.api, self.config = study, api, study.config
        self._cells, self._start = cells, start
        self._is_set_up = False

    def cell(self, wildcards: Any) -> Cell:
        """Return the cell that a job's wildcards name; exit with one sentence where there is none."""
        with one_sentence():
            cell = self.study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            self.settle([cell])
            return cell

    def settle(self, cells: Iterable[Cell]) -> None:
        """Find out which of the cells, and of the grid, are done or trained elsewhere; ask the tracker once a call."""
        if self.api.is_planning:
            self.set_up()
            self._cells.settle(cells)

    def is_done(self, cell: Cell) -> bool:
        """Return True if a settled cell has a marker that counts."""
        return self._cells.is_done(cell)

    def warn_if_elsewhere(self, cell: Cell) -> None:
        """Warn where a cell is a target here although another place trains it."""
        self._cells.warn_if_elsewhere(cell)

    def elsewhere(self, cell: Cell) -> Elsewhere | None:
        """Return where else a settled cell is trained right now; None where nowhere."""
        return self._cells.elsewhere(cell)

    @property
    def planned(self) -> Collection[Cell]:
        """Cells of the grid, and those beside it that this call was asked for; complete once the jobs are known."""
        return self._cells.settled

    def cells_here(self, model: str | None = None) -> list[Cell]:
        """Return the grid's cells, or those of one model (in the grid or not), without those trained elsewhere now."""
        with one_sentence():
            cells = [cell for cell in self.study.cells() if model in (None, cell.model)]
            if not cells:
                cells = [self.study.cell(str(model), resolution) for resolution in self.config.resolutions]
                require_supported((cell.model, cell.resolution) for cell in cells)
            self.settle(cells)
            return self._cells.without_elsewhere(cells)

    def make_again(self, path: Path) -> None:
        """Have a file made again that is there and does not count, whatever times and metadata say."""
        if self.api.is_planning:
            self.api.make_again(path)

    def accept(self, path: Path) -> None:
        """Count a file as made, whatever Snakemake noted about it."""
        if self.api.is_planning:
            self.api.accept(path)

    def is_complete_in_tracker(self, cell: Cell) -> bool:
        """Return True if the tracker has a cell as complete that no plan settles, which is said; asked where it may."""
        return self.config.skip_completed and self._cells.is_complete_in_tracker(cell)

    def complete_in_tracker(self, model: str) -> list[Marker]:
        """Return the markers of a model's complete runs, as far as the tracker was asked; of any cell."""
        return self._cells.complete_in_tracker(model) if self.config.skip_completed else []

    def want(self, kind: Kind, name: str) -> None:
        """Note work of a kind that this call plans, so that the first job which computes serves the others."""
        self._start.wanted.note(kind, name)

    @cached_property
    def durations(self) -> Durations:
        """Predicted durations of trainings."""
        return Durations(self.study, self.device_kind, self.threads())

    @cached_property
    def _order(self) -> Order:
        return Order(self.durations, self.config.priority)

    def rank(self, cell: Cell) -> int:
        """Return a planned cell's rank: what is named first, then the longest; the first has the highest rank."""
        return self._order.priority(cell, self._cells.settled)

    @asked_often
    def threads(self, *_: Any) -> int:
        """Return the CPU cores of one training: so many that no two trainings compete for the same ones."""
        if not self.api.is_local:
            return self.config.slurm.cpus
        return max(1, self.api.cores // (self.slots.devices * self.slots.each))

    @asked_often
    def threads_alone(self, *_: Any) -> int:
        """Return the CPU cores of a job that has a device to itself."""
        return max(1, self.api.cores // self.slots.devices) if self.api.is_local else self.config.slurm.cpus

    def cores(self) -> int:
        """Return the CPU cores that a local run has, or a job of a cluster."""
        return self.api.cores if self.api.is_local else self.config.slurm.cpus

    @property
    def trains_on_gpu(self) -> bool:
        """True if this machine is likely to train on a GPU."""
        return self.config.device != "cpu" and may_have_gpu()

    @cached_property
    def slots(self) -> Slots:
        """Slots of the devices that train."""
        return Slots(self.study, self.api, self.device_kind)

    @property
    def device_kind(self) -> str:
        """Kind of device that trains, `cuda` or `cpu`; a cluster is taken to have GPUs, as its jobs ask for one."""
        on_gpu = self.trains_on_gpu if self.api.is_local else self.config.device != "cpu"
        return "cuda" if on_gpu else "cpu"

    def set_up(self) -> None:
        """Set this call up; idempotent; called before inputs resolve, also by rules that concern no cell."""
        if self._is_set_up or not self.api.is_planning:
            return
        self._is_set_up = True
        with one_sentence():
            # Times and params, which hold the identities of data and cells, are reasons to run again. Code is none
            # (the recipe's version is in the fingerprint), and neither is another set of inputs (see `TrainRule`).
            self.api.keep_rerun_triggers("MTIME", "PARAMS")
            self.api.rerun_incomplete()
            if in_vain := self._order.named_in_vain(self.study.cells()) if self.config.priority else []:
                print(f"priority names {', '.join(in_vain)}, which this grid does not have", file=sys.stderr)
            if look_for_changes(self.study, self.api.is_dry_run):
                self.study.images_changed()
                self.make_again(MANIFEST)
            if self.api.is_dry_run:
                spare_collector(is_short=True)
                self.study.save_planned()
            else:
                self._start.begin(self.trains_on_gpu, self.durations, self.slots)
            self._say_what_is_left_out()

    def _say_what_is_left_out(self) -> None:
        """Say how many images the check left out, where it has run: a person who reads only the end must know too."""
        words = in_words(left_out()) if prepared_digest(self.study.data_identity) else ""
        if words:
            print(f"of the images {words}; {DATA_DIRECTORY / 'check.md'} names them", file=sys.stderr, flush=True)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Exit with one sentence and exit code 2 on a user's mistake: any exception would bring Snakemake's traceback.

    That is a ResomapError, or a place that may not be written or has no room.
    """
    try:
        yield
    except ResomapError as error:
        _exit(str(error), error.exit_code)
    except OSError as error:
        if (sentence := refusal(error)) is None:
            raise
        _exit(sentence, ResomapError.exit_code)


def _exit(sentence: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(f"resomap: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None
