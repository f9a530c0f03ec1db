"""`resomap evaluate`: evaluate a finished cell at every resolution; called by the rule `evaluate`."""

import argparse
import os

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("evaluate", run, "a done cell at every resolution (a step)")
    parser.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.core.logging import say

    with paused_collection():
        from resomap.evaluation.evaluation_writer import evaluate_cell

    study = Study.load(given.study)
    evaluate_cell(study, study.find(given.cell), given.threads, say)
