"""The subcommands of `resomap`, one file each, with `add` for the parser and `run`.

A subcommand imports what it needs when it runs, so that `resomap status` stays quick. `PEOPLE` are typed by a person,
`STEPS` are called by the workflow's rules.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from resomap.cells.study import CURRENT

Command = Callable[[argparse.Namespace], int | None]


class Commands:
    """Adds subcommands to the parser of `resomap`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._added = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(self, name: str, run: Command, words: str) -> argparse.ArgumentParser:
        """A subcommand, for its own arguments to be added."""
        parser = self._added.add_parser(name, help=words, description=words)
        parser.set_defaults(run=run)
        return parser

    def add_with_study(self, name: str, run: Command, words: str) -> argparse.ArgumentParser:
        """A subcommand that works on the study of the present directory, or on another one that it is given."""
        parser = self.add(name, run, words)
        parser.add_argument("--study", type=Path, default=CURRENT, help="as the workflow wrote it")
        return parser


# Modules of this package, in the order of `resomap --help`.
PEOPLE = ("status", "models", "sync", "forget", "predict", "adopt", "doctor", "bench", "config")
STEPS = ("data", "images", "train", "fetch", "evaluate", "cost", "microbatch", "costs", "map", "report")
