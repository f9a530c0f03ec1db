"""`resomap evaluate`: evaluate a finished cell at every resolution; called by the rule `evaluate`."""

import argparse
import os

from resomap.cells.study import Study
from resomap.cells.wanted import wanted
from resomap.commands import Commands, add_share
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import claim_share


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("evaluate", run, "a finished training at every resolution (a step)")
    parser.add_argument("cell", metavar="training", help="its name, for example vgg11@320 or vgg11@320.seed1")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    add_share(parser)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells import evaluation_part, evaluation_record
    from resomap.cells.lock import cell_lock
    from resomap.cells.marker import require_done
    from resomap.core.logging import say

    claim_share(given.share)
    study = Study.load(given.study)
    cell = study.find(given.cell)
    with cell_lock(cell, say):
        marker = require_done(study, cell)
        if evaluation_part.take_over(cell, marker, evaluation_record.resolutions(study, cell, marker)):
            return
    # Only now: libraries that take seconds to import.
    with paused_collection():
        from resomap.evaluation.evaluation_writer import evaluate_cell, leave_other_parts

    evaluate_cell(study, cell, given.threads, say)
    others = (study.find(name) for name in wanted(given.study, "evaluate") if name != cell.name)
    leave_other_parts(study, others, given.threads, say)
