"""The subcommands of `resomap`: `people` for those a person types, `steps` for those that the workflow's rules call.

Each imports what it needs when it runs, so that `resomap status` stays quick.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from resomap.study import CURRENT

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
