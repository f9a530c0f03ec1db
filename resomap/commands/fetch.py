"""`resomap fetch`: download the files of a cell that was trained elsewhere; called by the rule `fetch`."""

import argparse

from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("fetch", run, "the files of a training that was done elsewhere (a step)")
    parser.add_argument("cell", metavar="training", help="its name, for example vgg11@320 or vgg11@320.seed1")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.tracking.fetch import fetch_cell

    study = Study.load(given.study)
    fetch_cell(study, study.find(given.cell), print)
