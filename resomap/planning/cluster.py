"""Slurm: resources that each rule asks for, and jobs that an earlier, killed Snakemake left in the queue."""

import math
import re
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.config.schema import Slurm
from resomap.machine.slurm import ask, signal_lead
from resomap.planning.grid import Grid
from resomap.planning.snakemake_api import asked_often
from resomap.planning.training_rule import is_training

START_MINUTES = 15  # loading, first validation, last evaluation
RUNTIME_FACTOR = 1.5  # times the prediction: too little costs a requeue, too much a longer wait in the queue
# The comment that Snakemake's plugin gives each job: the rule, and the wildcards in their order in the output's name.
COMMENT = re.compile(r"rule_(\w+?)_wildcards_(.+)")


class Cluster:
    """Slurm resources for each kind of job; a local run has none of them."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._api = grid, grid.api
        self._config: Slurm = grid.config.slurm

    @property
    def job(self) -> dict[str, Any]:
        """Resources of every job: partition, account, constraint, further options, where they are configured."""
        if self._api.is_local:
            return {}
        named = {
            "slurm_partition": self._config.partition,
            "slurm_account": self._config.account,
            "constraint": self._config.constraint,
            "slurm_extra": self._config.extra,
        }
        return {name: value for name, value in named.items() if value}

    @property
    def gpu_job(self) -> dict[str, Any]:
        """Resources of a job with a GPU: those of every job, and the model of the GPU."""
        model = {"gpu_model": self._config.gpu_model} if self._config.gpu_model and not self._api.is_local else {}
        return self.job | model

    @property
    def training(self) -> dict[str, Any]:
        """Resources of a training: those of a GPU job, a signal before the time limit, requeue, a dependency.

        The dependency is on an older job of the same cell.
        """
        if self._api.is_local:  # each function of a rule costs its time for every job of the plan
            return {}
        return self.gpu_job | {"slurm_extra": self._training_extra}

    @property
    def winner(self) -> dict[str, Any]:
        """Resources of the winner's job: those of a training, whose cell is not known while it is planned."""
        if self._api.is_local:
            return {}
        return self.gpu_job | {"slurm_extra": " ".join([*self._stopping_words, self._config.extra]).strip()}

    @property
    def runtime(self) -> Any:
        """Minutes that a training asks for: a number, or a function of its wildcards where a cluster books them."""
        return self._config.max_runtime if self._api.is_local else self._runtime

    @asked_often
    def _runtime(self, wildcards: Any) -> int:
        if not self._api.is_main_process:
            return self._config.max_runtime
        predicted = self._grid.durations.seconds(self._grid.cell(wildcards)) / 60
        return min(self._config.max_runtime, math.ceil(RUNTIME_FACTOR * predicted) + START_MINUTES)

    @property
    def _stopping_words(self) -> list[str]:
        """Options by which a training saves before its time limit and comes back."""
        lead = signal_lead(self._grid.config.checkpoints.grace_seconds, self._config.max_runtime)
        return [f"--signal=TERM@{lead}", "--requeue"]

    @asked_often
    def _training_extra(self, wildcards: Any) -> str:
        words = self._stopping_words
        if self._api.is_planning and not self._api.is_dry_run:
            cell = self._grid.cell(wildcards)
            if cell in self._queued:
                words.append(f"--dependency=afterany:{self._queued[cell]}")
        return " ".join([*words, self._config.extra]).strip()

    @cached_property
    def _queued(self) -> Mapping[Cell, str]:
        """Job ids of trainings that an earlier Snakemake of this directory left in the queue, running or pending.

        A new job for such a cell waits for that one to end, and then finds the cell done or goes on with it: so
        nothing trains twice, and no GPU is taken only to wait for a lock.
        """
        found: dict[Cell, str] = {}
        wildcards = {_wildcards(cell): cell for cell in self._grid.planned}
        for job, comment, directory in _queue():
            told = COMMENT.fullmatch(comment)
            cell = wildcards.get(told[2]) if told and is_training(told[1]) else None
            if cell is not None and Path(directory) == Path.cwd():
                found[cell] = job
        if found:
            names = ", ".join(f"{cell.name} (job {job})" for cell, job in found.items())
            print(
                f"{len(found)} trainings of an earlier run are still in the queue, and waited for: {names}",
                file=sys.stderr,
            )
        return found


def _wildcards(cell: Cell) -> str:
    """Write a training's wildcards as they stand in the comment of its job."""
    return "_".join((cell.model, str(cell.resolution), cell.suffix)).replace("/", "_")


def _queue() -> list[tuple[str, str, str]]:
    """Return (job id, comment, working directory) of this user's jobs; none where Slurm does not answer."""
    asked = ask("squeue", "--me", "-h", "-o", "%i|%k|%Z")
    rows = [line.split("|", 2) for line in asked.stdout.splitlines()] if asked else []
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]
