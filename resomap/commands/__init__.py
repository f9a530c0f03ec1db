"""Subcommands of the resomap command, one module each, with `add` for the parser and `run`.

A subcommand imports what it needs when it runs, so that the status stays quick. `PEOPLE` are typed by a person, `STEPS`
are called by the workflow's rules, each by the rule of its own name.

- `init`, `study_proposal`, `band_look`: begin a study of one's own images, and what is proposed for them
- `run`, `plan`, `snakemake_line`: run or plan the study of a folder, and the line of Snakemake that does it
- `status`, `models`, `doctor`, `bench`: show the grid, list models, check the machine, measure its speed
- `weights`: keep pretrained weights in a directory, for nodes without a network
- `predict`, `weights_reader`: classify images with the winner, a trained cell or an exported file, and its weights
- `explain`: a picture of where a model saw its class in images
- `sync`, `forget`: send unsent journals to the tracker; set a cell aside, so that it trains anew
- `adopt`, `adoption`: count runs of an older script as complete, and the work behind it
- `config`, `config_documents`: write the files that are generated from the configuration schema, and their text
- `data`, `images`: check and split the images; prepare them at a resolution
- `microbatch`, `learning_rate`, `features`, `train`, `fetch`, `evaluate`: the steps of a model and of a cell
- `cost`, `costs`: measure a model at a resolution, and the table of all measurements
- `cost_kit`, `cost_import`: a folder that measures the costs on another machine, and what it found there
- `map`, `report`: write the map, and the report for a person
- `winner`: refit the recommended cell on train + validation, or make an ensemble of its trainings
- `export`, `export_source`: a trained cell as a file for another runtime, and the weights that it takes
- `attempts`: the end of an attempt at a training, as `train` and `winner` say it
"""

import argparse
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from resomap.cells.study import CURRENT
from resomap.machine.gpu_lock import WHOLE

Command = Callable[[argparse.Namespace], int | None]


class Commands:
    """Subcommands of the parser of `resomap`, to which each module adds its own."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._added = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(self, name: str, run: Command, words: str) -> argparse.ArgumentParser:
        """Add a subcommand and return its parser, for its own arguments to be added. `words` are its help."""
        parser = self._added.add_parser(name, help=words, description=words)
        parser.set_defaults(run=run)
        return parser

    def add_with_study(self, name: str, run: Command, words: str) -> argparse.ArgumentParser:
        """Add a subcommand that works on the study of the working directory, or on the one that `--study` names."""
        parser = self.add(name, run, words)
        parser.add_argument("--study", type=Path, default=CURRENT, help="as the workflow wrote it")
        add_directory(parser)
        parser.set_defaults(enters_directory=True)
        if name in STEPS:
            parser.add_argument("--log", type=Path, help="keep there what the step says, beside the terminal")
        return parser


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the study's folder, under Snakemake's long name too."""
    parser.add_argument(
        *("-C", "--directory"), type=Path, metavar="DIR", help="the study's folder, in place of the working directory"
    )


def add_share(parser: argparse.ArgumentParser) -> None:
    """Add the option by which the workflow gives a step a share of a GPU."""
    parser.add_argument(
        "--share", type=Fraction, metavar="1/N", default=WHOLE, help="of a GPU, which it shares with N - 1 others"
    )


# Modules of this package, in the order of `resomap --help`.
PEOPLE = (
    "init",
    "run",
    "plan",
    "status",
    "models",
    "weights",
    "sync",
    "forget",
    "predict",
    "explain",
    "cost_kit",
    "cost_import",
    "adopt",
    "doctor",
    "bench",
    "config",
)
STEPS = (
    "data",
    "images",
    "train",
    "fetch",
    "evaluate",
    "cost",
    "microbatch",
    "learning_rate",
    "features",
    "costs",
    "map",
    "report",
    "winner",
    "export",
)
