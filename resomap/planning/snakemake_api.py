"""Adapter to Snakemake's workflow object: the only module of the plan that reads or changes it.

tests/test_snakemake_contract.py has a test for each thing that is used here beyond Snakemake's documented interface,
and CI runs it on the lowest and the newest version that pyproject.toml allows.
"""

import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from snakemake.common import overwrite_function_params
from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile, temp
from snakemake.resources import Resource

from resomap.planning.snakemake_cli import command_line

DEFAULT_CORES = 4
GPUS = "resomap_gpus"  # attribute of Snakemake's workflow: GPUs of the call, once its resource counts their shares

Function = TypeVar("Function", bound=Callable[..., Any])


def asked_often(function: Function) -> Function:
    """Decorate a method that rules name, so that Snakemake need not inspect its signature for each job.

    This saves a tenth of a plan's time.
    """
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    overwrite_function_params(function, parameters)
    return function


def remember_signatures() -> None:
    """Tell Snakemake the signature of its own function that it inspects for each resource of each job.

    Saves another tenth of the plan of a large grid. To be called once, before the rules are read.
    """
    asked_often(Resource.evaluate)


def deleted_after_use(path: str) -> Any:
    """Return an output that Snakemake deletes once no job needs it any more."""
    return temp(path)


@dataclass(frozen=True)
class PlannedJob:
    """A job that Snakemake would run or runs: its rule and its wildcards."""

    rule: str
    wildcards: Mapping[str, str]


class SnakemakeApi:
    """One call of Snakemake. `workflow` is its object of that name in the Snakefile."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        # A job's own process, on whatever node, has that node's cores in its command line and not its job's.
        self.is_local = command_line.is_local and self.is_main_process
        self.executes = command_line.executes and self.is_main_process  # known while the file is parsed

    def limit_gpus(self, count: int) -> None:
        """Let a local run use `count` GPUs, and so train that many cells at once, unless a number is set already."""
        if self.is_local and "gpu" not in self._workflow.global_resources:
            self._workflow.register_resource("gpu", count)

    def share_gpus(self, jobs: int) -> None:
        """Let so many jobs share each GPU: from now on the resource `gpu` of a local run counts shares of GPUs.

        A call that hands its jobs to a cluster counts no GPUs.
        """
        if not self.is_local:
            return
        vars(self._workflow)[GPUS] = self.gpus
        self._workflow.register_resource("gpu", self.gpus * jobs)

    @property
    def names_configuration(self) -> bool:
        """True if the command line, or that of the main process, names a configuration file."""
        return bool(self._workflow.overwrite_configfiles)

    @property
    def is_main_process(self) -> bool:
        """True in the main process, False in a job's own, which parses the Snakefile again."""
        return bool(self._workflow.is_main_process)

    @property
    def is_planning(self) -> bool:
        """True if this process decides what runs: not a job's own, and not one that only lists or draws."""
        return self.is_main_process and self._workflow.executor_plugin is not None

    @property
    def is_dry_run(self) -> bool:
        """True under `-n`; known once the Snakefile is parsed."""
        return bool(self._workflow.dryrun)

    @property
    def is_forced(self) -> bool:
        """True if the command line asks for jobs whose files are there."""
        settings = self._workflow.dag_settings
        return bool(settings.forceall or settings.forcetargets or settings.forcerun)

    def asks_for_nothing_but(self, start: str) -> bool:
        """Return True if targets are named, and each begins with this."""
        targets = self._workflow.dag_settings.targets
        return bool(targets) and all(str(target).startswith(start) for target in targets)

    @property
    def cores(self) -> int:
        """CPU cores that a local run has; DEFAULT_CORES where their number is not set (`snakemake --report`)."""
        try:
            return int(self._workflow.cores)
        except WorkflowError:
            return DEFAULT_CORES

    @property
    def gpus(self) -> int:
        """GPUs that a local run may use."""
        known: int | None = vars(self._workflow).get(GPUS)
        return self.trainings if known is None else known

    @property
    def trainings(self) -> int:
        """Trainings that a local run starts at once, where there are cores for them: one on each share of a GPU."""
        # No dictionary, although it looks like one: `get` with a default fails.
        return max(1, int(self._workflow.global_resources["gpu"].value))

    @property
    def memory_mb(self) -> int:
        """Main memory in MB that no job may exceed, or it would wait for ever: of `--resources`, or this machine's."""
        if "mem_mb" in self._workflow.global_resources:
            return int(self._workflow.global_resources["mem_mb"].value)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6 if self.is_local else sys.maxsize

    @property
    def jobs(self) -> int | None:
        """Number of jobs that a cluster run has at once (`--jobs`); None: no limit."""
        return command_line.jobs

    def rerun_incomplete(self) -> None:
        """Make outputs again that a kill left half made, in place of asking for `--rerun-incomplete`.

        The command line has that option already, unless another workflow uses this one as a module.
        """
        self._workflow.dag_settings.force_incomplete = True

    def hear_of_finished_jobs(self) -> None:
        """Have Snakemake tell when a job is done, also with `--quiet progress`: the time to go is learned from it.

        What is shown does not change: handlers of logs, which know what is to be quiet, hold the settings of before.
        """
        settings = self._workflow.output_settings
        if settings.quiet:
            heard = [kind for kind in settings.quiet if kind.name not in ("PROGRESS", "ALL")]
            self._workflow.output_settings = dataclasses.replace(settings, quiet=type(settings.quiet)(heard))

    def keep_rerun_triggers(self, *names: str) -> None:
        """Keep only these of Snakemake's reasons to run a job again whose output is there.

        ResoMap's profile says the same; a profile of the user, or a workflow that uses this one as a module, may not.
        """
        settings = self._workflow.dag_settings
        kept = [trigger for trigger in settings.rerun_triggers if trigger.name in names]
        settings.rerun_triggers = type(settings.rerun_triggers)(kept)

    def jobs_to_run(self) -> list[PlannedJob]:
        """Return the jobs that this call runs, in no order; known once Snakemake has decided. Not the targets' own."""
        jobs = self._workflow.dag.needrun_jobs(exclude_finished=False)
        return [PlannedJob(str(job.rule), dict(job.wildcards_dict)) for job in jobs if job.output]

    def make_again(self, path: Path) -> None:
        """Have a file made again that is there, whatever times and metadata say."""
        self._workflow.dag.forcefiles.add(str(path))

    def accept(self, path: Path) -> None:
        """Count a file that no job of this directory wrote as made: forget what Snakemake noted about it."""
        self._workflow.dag.forcefiles.discard(str(path))
        self._workflow.persistence.cleanup_metadata(IOFile(str(path)))

    def may_be_flagged(self) -> bool:
        """Return True if a kill may have left outputs flagged as incomplete.

        Snakemake's default persistence has a file for each in a folder; another one (a database) has no such folder.
        """
        folder = Path(self._workflow.persistence.path, "incomplete")
        return not folder.is_dir() or any(folder.iterdir())
