"""`resomap sync`: send unsent journals to the tracker."""

import argparse

from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    commands.add_with_study("sync", run, "send to the tracker what was written while it was away")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.tracking.sync import send_all

    return send_all(Study.load(given.study))
