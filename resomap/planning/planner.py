"""Planner, the entry point of the Snakefile: one object for each rule, over the grid that they share."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.cells.study import STATE_DIRECTORY, Study
from resomap.config import parse_config
from resomap.config.documents import read_document
from resomap.core.gc_control import spare_collector
from resomap.core.workflow_files import OWN_CONFIGURATION, PLAN_FILE
from resomap.planning.cells_plan import CellsPlan
from resomap.planning.cluster import Cluster
from resomap.planning.grid import Grid, one_sentence
from resomap.planning.plan_map import show_plan
from resomap.planning.rules.cost import CostRule
from resomap.planning.rules.evaluate import EvaluateRule
from resomap.planning.rules.export import ExportRule
from resomap.planning.rules.features import FeaturesRule
from resomap.planning.rules.fetch import FetchRule
from resomap.planning.rules.images import ImagesRule
from resomap.planning.rules.learning_rate import LearningRateRule
from resomap.planning.rules.map import MapRule
from resomap.planning.rules.microbatch import MicrobatchRule
from resomap.planning.rules.train import TrainRule
from resomap.planning.rules.winner import WinnerRule
from resomap.planning.run_start import RunStart
from resomap.planning.snakemake_api import SnakemakeApi, asked_often, remember_signatures
from resomap.planning.snakemake_cli import command_line
from resomap.tracking.lookup import TrackerLookup


class Planner:
    """Inputs, params, resources and commands of all rules; each rule asks the attribute of its own name."""

    def __init__(self, workflow: Any, config: Mapping[str, Any]) -> None:
        """Open the study of a configuration, or in a job the one that the main process wrote.

        `workflow` is Snakemake's object of that name in the Snakefile, `config` its configuration. Exits with one
        sentence where the configuration is wrong.
        """
        spare_collector()
        self._directory = Path.cwd()
        remember_signatures()
        api = SnakemakeApi(workflow)
        api.limit_gpus(1)  # one training at a time, unless the command line says more
        with one_sentence():
            # Jobs on a cluster parse the Snakefile again: they read the study that the main process wrote.
            self.path = _study_path(config)
            if api.is_main_process:
                self.study = Study.open(config)
                self.study.call = command_line.call()
                command_line.after_dry_run = self._show_plan
            else:
                self.study = Study.load(self.path)
        self.config = self.study.config
        tracker = TrackerLookup(self.study, lambda: api.is_dry_run)  # not known while the file is parsed
        start = RunStart(self.study, api, tracker, self.path)
        grid = self._grid = Grid(self.study, api, CellsPlan(api, self.study, tracker), start)
        with one_sentence():
            api.share_gpus(grid.slots.each)
        self.cluster = Cluster(grid)
        self.images = ImagesRule(grid)
        self.cost = CostRule(grid)
        self.microbatch = MicrobatchRule(grid)
        self.learning_rate = LearningRateRule(grid, self.images)
        self.features = FeaturesRule(grid, self.images)
        self.train = TrainRule(grid, self.images, self.learning_rate, self.features)
        self.fetch = FetchRule(grid)
        self.evaluate = EvaluateRule(grid, self.images)
        self.export = ExportRule(grid, self.images)
        self.map = MapRule(grid, self.evaluate, self.path)
        self.winner = WinnerRule(grid, self.fetch, self.cluster, self.learning_rate)

    def command(self, words: str) -> str:
        """Return the shell command of a rule: `resomap <words>` of this workflow's environment, whatever PATH says.

        It reads the study in place of the configuration. What is the same for all jobs is filled in here: Snakemake
        fills in the rest three times for each job that it prints.
        """
        python = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
        return f"{python} -m resomap {words} --study {self.path} --log {{log:q}}"

    def sharing(self, words: str) -> str:
        """Return the shell command of a rule whose job may share a GPU: it is told its share, `--share 1/2`."""
        return self.command(f"{words} --share {{resources.gpu}}/{self._grid.slots.each}")

    def _show_plan(self) -> None:
        """Print the map of the grid, or write it for `resomap plan`, where this was a dry run that planned jobs."""
        api = self._grid.api
        if not (api.is_dry_run and api.is_planning):
            return
        text = "\n".join(show_plan(self._grid, self._directory))
        if file := os.environ.get(PLAN_FILE):
            Path(file).write_text(text.lstrip() + "\n")
        else:
            print(text, flush=True)

    @staticmethod
    @asked_often
    def environment(_wildcards: Any) -> None:
        """Return no conda environment: each step runs in that of this Snakemake, whatever `--sdm` says."""
        return None


def own_configuration(workflow: Any) -> str | None:
    """Return the path of the study's own configuration, where it has one and no `--configfile` takes its place.

    Exits with one sentence where it is no configuration.
    """
    if SnakemakeApi(workflow).names_configuration or not OWN_CONFIGURATION.exists():
        return None
    with one_sentence():
        read_document(OWN_CONFIGURATION)
    return str(OWN_CONFIGURATION)


def _study_path(config: Mapping[str, Any]) -> Path:
    """Return the path of the study file of a configuration: the same in the main process and in its jobs."""
    text = json.dumps(parse_config(config).model_dump(), sort_keys=True)
    return STATE_DIRECTORY / f"study-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
