"""What the Snakefile asks: cells for targets, which of them are done, threads, the file that jobs read.

Verification of markers happens here, once per invocation and in the main process only, before Snakemake looks at
them: a marker counts when its fingerprint is the wanted one, whatever modification times and Snakemake's metadata
say. Everything that reaches into Snakemake's internals stands in this file (hence snakemake==9.27.*).
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resomap import neighbours, shelf
from resomap.cell import Cell
from resomap.config import parse_config
from resomap.errors import ResomapError
from resomap.gpus import may_have_gpu
from resomap.marker import is_valid, read_marker, write_marker
from resomap.models.fits import require_supported
from resomap.study import STATE_DIRECTORY, TARGET, Study
from resomap.tracking.completed import completed
from resomap.tracking.tracker import TrackerUnavailable, is_remote, tracking_uri, why_unreachable
from snakemake_logger_plugin_resomap.arguments import is_local, resume_command, typed

CLUSTER_THREADS = 4  # cores for the job of one GPU where the machine that plans is not the one that trains


class Planner:
    """The grid as Snakemake sees it. `workflow` is Snakemake's object of that name."""

    def __init__(self, workflow: Any, config: Mapping[str, Any]) -> None:
        self._workflow = workflow
        self._settled: set[Cell] = set()
        self._done: set[Cell] = set()
        self._announced = False
        self._tracker_failed = False
        self.python = shlex.quote(sys.executable)
        with _one_sentence():
            # Jobs on a cluster parse the Snakefile again: they read the study that the main process wrote.
            self.path = _study_path(config)
            if workflow.is_main_process:
                self.study = Study.open(config)
                self.study.command = resume_command(typed, TARGET)
            else:
                self.study = Study.load(self.path)
        self.config = self.study.config
        if is_local(sys.argv) and "gpu" not in workflow.global_resources:
            workflow.register_resource("gpu", 1)  # one training at a time, unless the command line says more

    def cell(self, wildcards: Any) -> Cell:
        """The cell of a train job; stops with one sentence where the target names none."""
        with _one_sentence():
            cell = self.study.target(wildcards.model, wildcards.resolution, wildcards.suffix)
            self._settle([cell])
            return cell

    def store(self, wildcards: Any) -> list[str]:
        """Input of a train job: the prepared images of its resolution; nothing for a cell that is done.

        A done cell that named the store would be trained again as soon as the store has to be made anew for a
        neighbour, `ancient` or not: Snakemake takes a missing input that a job is going to write for an update.
        """
        cell = self.cell(wildcards)
        if cell in self._done and not self._is_forced():
            return []
        return [f"results/data/{cell.resolution}/store.json"]

    def markers(self, wildcards: Any = None) -> list[str]:
        """The markers of the grid, or of one model (`results/{model}/all`), grid or not."""
        with _one_sentence():
            model = getattr(wildcards, "model", None)
            cells = [cell for cell in self.study.cells() if model in (None, cell.model)]
            if not cells:
                resolutions = self.config.resolutions
                cells = [self.study.cell(str(model), resolution) for resolution in resolutions]
                require_supported((cell.model, cell.resolution) for cell in cells)
            self._settle(cells)
            return [str(cell.marker) for cell in cells]

    def grid(self, _wildcards: Any) -> str:
        """The only param of a step that sums up the grid: it changes when a cell comes, goes or changes."""
        text = " ".join(sorted(self.study.fingerprints().values()))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def fingerprint(self, wildcards: Any) -> str:
        """The only param of a train job: what its result depends on."""
        return self.study.fingerprint(self.cell(wildcards))

    def threads(self, *_: Any) -> int:
        """CPU cores of one training: all of them on a CPU, so that no two trainings fight for the same ones."""
        if not is_local(sys.argv):
            return CLUSTER_THREADS
        cores = int(self._workflow.cores or 1)
        trainings = int(self._workflow.global_resources.get("gpu", 1)) if self._trains_on_gpu() else 1
        return max(1, cores // max(1, trainings))

    def _trains_on_gpu(self) -> bool:
        return self.config.device != "cpu" and may_have_gpu()

    def _settle(self, cells: Iterable[Cell]) -> None:
        """Check the markers of the whole grid, and of these cells, before Snakemake takes stock of files."""
        if not self._workflow.is_main_process or self._workflow.executor_plugin is None:
            return
        if not self._announced:
            self._announced = True
            self._trust_fingerprints()
            if not self._workflow.dryrun:
                self._begin()
            cells = [*self.study.cells(), *cells]
        new = [cell for cell in dict.fromkeys(cells) if cell not in self._settled]
        self._settled.update(new)
        for cell in new:
            self._settle_one(cell)
        if self.config.skip_completed:
            self._take_over({cell: self.study.fingerprint(cell) for cell in new if cell not in self._done})

    def _begin(self) -> None:
        """What only a call that is going to run jobs may do."""
        self._require_tracker()
        self._presence, alone = neighbours.announce()
        if alone and (stale := neighbours.remove_stale_locks()):
            print(f"{stale} lock files of a killed snakemake are removed: nobody else works here", file=sys.stderr)
        if self.config.device == "auto" and is_local(sys.argv) and not self._trains_on_gpu():
            print("no GPU is visible: trainings run on the CPU, one at a time", file=sys.stderr)
        self.study.save(self.path)

    def _trust_fingerprints(self) -> None:
        """Of Snakemake's reasons to run again keep time and params, which hold the identities of data and cells.

        Code that changed retrains nothing (the recipe's version number is in the fingerprint), and neither does
        another set of inputs (see `store`).
        """
        settings = self._workflow.dag_settings
        kept = [trigger for trigger in settings.rerun_triggers if trigger.name in ("MTIME", "PARAMS")]
        settings.rerun_triggers = type(settings.rerun_triggers)(kept)

    def _is_forced(self) -> bool:
        settings = self._workflow.dag_settings
        return bool(settings.forceall or settings.forcetargets or settings.forcerun)

    def _settle_one(self, cell: Cell) -> None:
        fingerprint = self.study.fingerprint(cell)
        if is_valid(read_marker(cell.marker), cell, fingerprint):
            self._done.add(cell)
            self._forget_incomplete(cell)
        elif shelf.recover_marker(cell, fingerprint):
            self._done.add(cell)
            self._workflow.persistence.cleanup_metadata(self._marker_file(cell))
            print(f"{cell.name}: complete in {cell.checkpoints}, its marker is back", file=sys.stderr)
        elif cell.marker.exists():
            self._workflow.dag.forcefiles.add(str(cell.marker))
            print(f"{cell.name}: the marker is of other settings, so it trains anew", file=sys.stderr)

    def _take_over(self, wanted: Mapping[Cell, str]) -> None:
        """Write the markers of cells that the tracker knows as complete, so that they are not trained again here."""
        tracking = self.config.tracking
        if not wanted or not is_remote(tracking) or self._tracker_failed:
            return
        try:
            found = completed(tracking, self.config.experiment, self.study.base, wanted)
        except TrackerUnavailable as error:
            self._tracker_failed = True
            print(f"the tracker {tracking_uri(tracking)} is not asked: {error}; local markers count", file=sys.stderr)
            return
        for cell, content in found.items():
            write_marker(cell.marker, content)
            self._done.add(cell)
            self._workflow.dag.forcefiles.discard(str(cell.marker))
            self._workflow.persistence.cleanup_metadata(self._marker_file(cell))
        if found:
            names = ", ".join(cell.name for cell in found)
            print(f"{len(found)} cells are complete in the tracker: {names}", file=sys.stderr)

    def _forget_incomplete(self, cell: Cell) -> None:
        """A kill between the marker and the job's end leaves Snakemake's incomplete flag on a verified marker."""
        persistence = self._workflow.persistence
        key = persistence._get_key(self._marker_file(cell))
        if persistence._filter_incomplete_keys([key]):
            persistence._unmark_incomplete(key)

    def _marker_file(self, cell: Cell) -> Any:
        from snakemake.io import IOFile

        return IOFile(str(cell.marker), rule=self._workflow.get_rule("train"))

    def _require_tracker(self) -> None:
        if not self.config.tracking.required:
            return
        reason = why_unreachable(self.config.tracking)
        if reason is not None:
            raise ResomapError(
                f"the tracker {tracking_uri(self.config.tracking)} is required and cannot be used: {reason}; "
                "mend that, or go on without it by --config 'tracking={required: false}'"
            )


@contextmanager
def _one_sentence() -> Iterator[None]:
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
