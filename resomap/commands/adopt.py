"""`resomap adopt`: let runs of an older script count as complete."""

import argparse

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.errors import ResomapError


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("adopt", run, "let runs of an older script, named MODEL_RESOLUTION, count here")
    parser.add_argument("names", nargs="*", metavar="MODEL_RESOLUTION", help="none: only list them")
    parser.add_argument("--all", action="store_true", help="all that can be adopted, the newest of each training")
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

    study = Study.load(given.study)
    if study.config.data.folds is not None:
        raise ResomapError(
            "this study has folds, and runs of older scripts were judged on one split; adopt them in a study without "
            "data.folds"
        )
    adoption = Adoption(study, given.experiment, given.metric)
    chosen = given.names or given.all or given.runs
    for line in adoption.adopt(given.names, given.runs, given.all) if chosen else adoption.listing():
        print(line)
