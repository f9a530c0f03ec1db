"""What the Snakefile asks: cells for targets, their inputs and params, threads, the file that jobs read."""

import hashlib
import json
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap.cells import evaluation_record as evaluation
from resomap.cells import microbatch_choice
from resomap.cells.cell import Cell
from resomap.cells.marker import read_marker
from resomap.cells.study import STATE_DIRECTORY, TARGET, Study
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.estimates.duration import Durations
from resomap.estimates.memory_request import memory_mb
from resomap.estimates.order import Order
from resomap.machine.gpus import may_have_gpu, visible_gpus
from resomap.models.fits import require_supported
from resomap.planning import snakemake_locks
from resomap.planning.argv import resume_command, typed
from resomap.planning.cells_plan import Ledger
from resomap.planning.cluster import Cluster
from resomap.planning.rules.images import Images
from resomap.planning.snakemake_api import Engine, asked_often
from resomap.tracking.lookup import Consultation
from resomap.tracking.rest import tracking_uri
from resomap.tracking.sync import start_courier, unsent


class Planner:
    """The grid as Snakemake sees it. `workflow` is Snakemake's object of that name."""

    def __init__(self, workflow: Any, config: Mapping[str, Any]) -> None:
        self._engine = Engine(workflow)
        self._announced = False
        with one_sentence():
            # Jobs on a cluster parse the Snakefile again: they read the study that the main process wrote.
            self.path = _study_path(config)
            if self._engine.is_main_process:
                self.study = Study.open(config)
                self.study.command = resume_command(typed, TARGET)
            else:
                self.study = Study.load(self.path)
        self.config = self.study.config
        self._tracker = Consultation(self.study, lambda: self._engine.is_dry_run)  # not known while the file is parsed
        self._ledger = Ledger(self._engine, self.study, self._tracker)
        self.cluster = Cluster(self, self._engine)
        self.images = Images(self, self._engine)

    def command(self, words: str) -> str:
        """The shell line of a rule: `resomap <words>` of the environment that runs this workflow, whatever PATH says.

        It reads the study in place of the configuration. What is the same for all jobs is filled in here: Snakemake
        fills in the rest three times for each job that it prints.
        """
        python = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
        return f"{python} -m resomap {words} --study {self.path}"

    def cell(self, wildcards: Any) -> Cell:
        """The cell of a train job; stops with one sentence where the target names none."""
        with one_sentence():
            cell = self.study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            self._settle([cell])
            return cell

    @asked_often
    def store(self, wildcards: Any) -> list[str]:
        """Input of a train job: the images of its resolution, its microbatch where that is to be found; nothing for a
        cell that is done.

        A done cell that named the store would be trained again as soon as the store has to be made anew for a
        neighbour, `ancient` or not: Snakemake takes a missing input that a job is going to write for an update.
        """
        cell = self.cell(wildcards)
        if self._ledger.is_done(cell) and not self._engine.is_forced:
            return []
        self._ledger.warn_of_other(cell)
        images = self.images.of(cell)
        return (
            [*images, str(microbatch_choice.path_of(cell.model))]
            if microbatch_choice.is_wanted(self.study, cell)
            else images
        )

    @property
    def planned(self) -> Collection[Cell]:
        """The cells of the grid, and those beside it that this call was asked for: whole once the jobs are known."""
        return self._ledger.settled

    def markers(self, wildcards: Any = None) -> list[str]:
        """The markers of the grid, or of one model (`results/{model}/all`), grid or not."""
        with one_sentence():
            model = getattr(wildcards, "model", None)
            cells = [cell for cell in self.study.cells() if model in (None, cell.model)]
            if not cells:
                resolutions = self.config.resolutions
                cells = [self.study.cell(str(model), resolution) for resolution in resolutions]
                require_supported((cell.model, cell.resolution) for cell in cells)
            self._settle(cells)
            return [str(cell.marker) for cell in self._ledger.here(cells)]

    def evaluations(self, _wildcards: Any = None) -> list[str]:
        """The records of the grid's evaluation: its cells at every resolution."""
        with one_sentence():
            self._settle([])
        return [str(evaluation.record_path(cell)) for cell in self._ledger.here(self.study.cells())]

    @asked_often
    def evaluation_images(self, wildcards: Any) -> list[str]:
        """Input of an evaluate job: the images of the resolutions at which it has something to compute, under one name.

        A record that lacks some of them is written anew, whatever its modification time and Snakemake's metadata
        say; one that has more stands, so that a sub-grid evaluates nothing.
        """
        cell = self.cell(wildcards)
        if not self._engine.is_main_process:
            return []  # the plan has seen to them, and which ones is not to be told from here: the record is away
        wanted: Collection[int] = {cell.resolution, *self.config.resolutions}
        marker = read_marker(cell.marker) if self._ledger.is_done(cell) else None
        if marker is None:  # at its own resolution the training keeps its predictions: its images are there anyhow
            has_weights = "best" in self.config.checkpoints.keep
        else:
            wanted = evaluation.missing(cell, marker, wanted)
            if wanted:
                self.make_again(evaluation.record_path(cell))
            has_weights = any(path.exists() for path in evaluation.weights_paths(cell, marker["fingerprint"]))
            has_weights |= marker["origin"] == "tracker" and bool(marker.get("weights_in_tracker"))
        if not has_weights:
            return []  # nothing can be computed, and the record says so: that takes no images
        return self.images.ready(wanted)

    @asked_often
    def fingerprint(self, wildcards: Any) -> str:
        """The only param of a train job: what its result depends on."""
        return self.study.fingerprint(self.cell(wildcards))

    def identity(self, _wildcards: Any) -> str:
        """The only param of a step that reads the images: what they are."""
        self.announce()
        return self.study.data_identity

    @asked_often
    def threads(self, *_: Any) -> int:
        """CPU cores of one training: all of them on a CPU, so that no two trainings fight for the same ones."""
        if not self._engine.is_local:
            return self.config.slurm.cpus
        trainings = self._engine.gpus if self._trains_on_gpu() else 1
        return max(1, self._engine.cores // trainings)

    @cached_property
    def durations(self) -> Durations:
        """What trainings are expected to take."""
        return Durations(self.study, self.device_kind(), self.threads())

    @cached_property
    def _order(self) -> Order:
        return Order(self.durations, self.config.priority)

    @asked_often
    def priority(self, wildcards: Any) -> int:
        """Of a train job: what is named first, then the longest."""
        if not self._engine.is_planning:
            return 0
        return self.rank(self.cell(wildcards))

    def rank(self, cell: Cell) -> int:
        """A planned cell's place among the others, the first one's the highest."""
        return self._order.priority(cell, self._ledger.settled)

    def microbatch_priority(self, _wildcards: Any) -> int:
        """Of the step that finds a microbatch: above each training."""
        return len(self._ledger.settled) + 1

    @asked_often
    def memory_mb(self, wildcards: Any, attempt: int) -> int:
        """Main memory of a train or microbatch job, more with each attempt, never more than there is altogether."""
        with one_sentence():
            if hasattr(wildcards, "resolution"):
                cell = self.study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            else:
                cell = microbatch_choice.cells_of(self.study, wildcards.model)[0]
            return min(memory_mb(self.study, cell, self.device_kind(), attempt), self._engine.memory_mb)

    @property
    def retries(self) -> int:
        """How often a failed training is tried again, by the process that plans.

        Inside its job on a cluster it is not: that one has the memory and the time of the attempt that failed.
        """
        return self.config.retries if self._engine.is_main_process else 0

    @asked_often
    def attempt(self, _wildcards: Any, attempt: int) -> int:
        """Which of a train job's attempts this is, from 1; a resource, for params are reasons to run again."""
        return attempt

    def cores(self) -> int:
        """CPU cores that a local run has, or a job of a cluster."""
        return self._engine.cores if self._engine.is_local else self.config.slurm.cpus

    @property
    def is_local(self) -> bool:
        """Whether jobs run on this machine, in this call."""
        return self._engine.is_local

    def device_kind(self) -> str:
        """`cuda` or `cpu`: where the cells will train; a cluster is taken to have GPUs, as its jobs ask for one."""
        on_gpu = self._trains_on_gpu() if self._engine.is_local else self.config.device != "cpu"
        return "cuda" if on_gpu else "cpu"

    def announce(self) -> None:
        """Once a call, before Snakemake takes stock of files; each step that is not of a cell says so itself."""
        if self._announced or not self._engine.is_planning:
            return
        self._announced = True
        with one_sentence():
            # Times and params, which hold the identities of data and cells, are reasons to run again. Code is none
            # (the recipe's version is in the fingerprint), and neither is another set of inputs (see `store`).
            self._engine.keep_rerun_triggers("MTIME", "PARAMS")
            if self._engine.is_dry_run:
                self._engine.spare_collector()
            else:
                self._begin()

    def make_again(self, path: Path) -> None:
        """A file that is there and does not count: its job runs, whatever times and metadata say."""
        if self._engine.is_planning:
            self._engine.make_again(path)

    def _settle(self, cells: Iterable[Cell]) -> None:
        if self._engine.is_planning:
            self.announce()
            self._ledger.settle(cells)

    def _trains_on_gpu(self) -> bool:
        return self.config.device != "cpu" and may_have_gpu()

    def _begin(self) -> None:
        """What only a call that is going to run jobs may do."""
        self._tracker.require()
        self._presence, alone = snakemake_locks.announce()
        if alone and (stale := snakemake_locks.remove_stale_locks()):
            print(f"{stale} lock files of a killed snakemake are removed: nobody else works here", file=sys.stderr)
        if self.config.device == "auto" and self._engine.is_local and not self._trains_on_gpu():
            print("no GPU is visible: trainings run on the CPU, one at a time", file=sys.stderr)
        if self._engine.is_local and self._engine.gpus > 1 and self._trains_on_gpu():
            self._tell_of_idle_gpus()
        self.study.save(self.path)
        # What earlier runs left unsent, and on a cluster what nodes without a network write.
        if not self._engine.is_local or unsent(tracking_uri(self.config.tracking)):
            self._courier = start_courier(self.study, self.path)

    def _tell_of_idle_gpus(self) -> None:
        asked, visible, cores = self._engine.gpus, len(visible_gpus()), self._engine.cores
        if 0 < visible < asked:
            print(f"--resources gpu={asked}, but {visible} GPUs are visible: the other jobs wait", file=sys.stderr)
        if cores < min(asked, visible or asked):
            print(f"--cores {cores} for {asked} GPUs: only {cores} jobs run at a time", file=sys.stderr)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns a user's mistake into one sentence and exit code 2: any exception would bring Snakemake's traceback."""
    try:
        yield
    except ResomapError as error:
        sys.stdout.flush()
        print(f"resomap: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None


def _study_path(config: Mapping[str, Any]) -> Path:
    """Where the jobs of a configuration find their study: the same in the main process and in its children."""
    text = json.dumps(parse_config(config).model_dump(), sort_keys=True)
    return STATE_DIRECTORY / f"study-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
