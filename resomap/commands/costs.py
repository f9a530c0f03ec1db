"""`resomap costs`: write the table of measured costs; called by the rule `costs`."""

import argparse
from pathlib import Path

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("costs", run, "the table of measured costs (a step)")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cost.cost_table import write_table

    remove_leftovers(given.output.parent)
    write_table(Study.load(given.study), given.classes, given.output)
