"""`resomap adopt`: let runs of an older script count as complete."""

import argparse

from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("adopt", run, "let runs of an older script, named MODEL_RESOLUTION, count here")
    parser.add_argument("names", nargs="*", metavar="MODEL_RESOLUTION", help="none: only list them")
    parser.add_argument("--all", action="store_true", help="all that can be adopted, the newest of each cell")
    parser.add_argument(
        "--run", dest="runs", action="append", default=[], metavar="ID", help="this very run (its first digits do)"
    )
    parser.add_argument("--experiment", help="where they are, if not in this study's experiment")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="THEIRS=OURS",
        help="what a metric of theirs means, for example acc=test/accuracy",
    )


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.commands.adoption import Adoption

    adoption = Adoption(Study.load(given.study), given.experiment, given.metric)
    chosen = given.names or given.all or given.runs
    for line in adoption.adopt(given.names, given.runs, given.all) if chosen else adoption.listing():
        print(line)
