"""Snakemake's workflow object, as far as the plan reaches into it: the only file that knows its internals.

Hence snakemake==9.27.*: what is used here beyond the documented interface may change in any version.
"""

import gc
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from snakemake.exceptions import WorkflowError
from snakemake.resources import Resource

from resomap.planning.argv import is_local

UNSAID_CORES = 4

Function = TypeVar("Function", bound=Callable[..., Any])


def asked_often(function: Function) -> Function:
    """A method that rules name: Snakemake looks at its signature several times for each job, and finds it here.

    A tenth of a plan's time. The attribute is what `snakemake.common.overwrite_function_params` sets.
    """
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    function._overwrite_params = parameters  # type: ignore[attr-defined]
    return function


asked_often(Resource.evaluate)  # Snakemake's own function, which it looks at for each resource of each job


class Engine:
    """One invocation of Snakemake. `workflow` is its object of that name in the Snakefile."""

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow
        # A plan of thousands of jobs makes millions of objects that live to its end: by default the collector walks
        # through all of them again and again, a fifth of the time, and finds next to nothing.
        gc.freeze()
        gc.set_threshold(200_000, 20, 20)
        # A job's own process, on whatever node, has that node's cores in its command line and not its job's.
        self.is_local = is_local(sys.argv) and bool(workflow.is_main_process)
        if self.is_local and "gpu" not in workflow.global_resources:
            workflow.register_resource("gpu", 1)  # one training at a time, unless the command line says more

    @property
    def is_main_process(self) -> bool:
        """False in a job's own process, which parses the Snakefile again."""
        return bool(self._workflow.is_main_process)

    @property
    def is_planning(self) -> bool:
        """Whether this process decides what runs: not a job's own, and not one that only lists or draws."""
        return self.is_main_process and self._workflow.executor_plugin is not None

    @property
    def is_dry_run(self) -> bool:
        return bool(self._workflow.dryrun)

    @property
    def is_forced(self) -> bool:
        """Whether the command line asks for jobs whose files are there."""
        settings = self._workflow.dag_settings
        return bool(settings.forceall or settings.forcetargets or settings.forcerun)

    @property
    def cores(self) -> int:
        """CPU cores that a local run has; a few where nobody said how many (`snakemake --report`)."""
        try:
            return int(self._workflow.cores)
        except WorkflowError:
            return UNSAID_CORES

    @property
    def gpus(self) -> int:
        """GPUs that a local run may use, which is how many trainings it starts at once."""
        # No dictionary, although it looks like one: `get` with a default fails.
        return max(1, int(self._workflow.global_resources["gpu"].value))

    @property
    def memory_mb(self) -> int:
        """MB of main memory that no job may exceed, or it would wait for ever: of `--resources`, or this machine's."""
        if "mem_mb" in self._workflow.global_resources:
            return int(self._workflow.global_resources["mem_mb"].value)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**6 if self.is_local else sys.maxsize

    @property
    def jobs(self) -> int | None:
        """How many jobs a cluster run has at once (`--jobs`); None: no limit."""
        return self._workflow.nodes

    def spare_collector(self) -> None:
        """Of a dry run, which ends before garbage is worth looking for."""
        gc.disable()

    def keep_rerun_triggers(self, *names: str) -> None:
        """Of Snakemake's reasons to run a job again whose output is there, keep these."""
        settings = self._workflow.dag_settings
        kept = [trigger for trigger in settings.rerun_triggers if trigger.name in names]
        settings.rerun_triggers = type(settings.rerun_triggers)(kept)

    def make_again(self, path: Path) -> None:
        """Run the job of a file that is there, whatever times and metadata say."""
        self._workflow.dag.forcefiles.add(str(path))

    def accept(self, path: Path, rule: str) -> None:
        """A file that no job of this directory wrote counts as made: forget what Snakemake noted about it."""
        self._workflow.dag.forcefiles.discard(str(path))
        self._workflow.persistence.cleanup_metadata(self._file(path, rule))

    def forget_incomplete(self, path: Path, rule: str) -> None:
        """A kill between a file and its job's end leaves a flag, for which Snakemake would ask for another command."""
        persistence = self._workflow.persistence
        key = persistence._get_key(self._file(path, rule))
        if persistence._filter_incomplete_keys([key]):
            persistence._unmark_incomplete(key)

    def _file(self, path: Path, rule: str) -> Any:
        from snakemake.io import IOFile

        return IOFile(str(path), rule=self._workflow.get_rule(rule))
