"""`resomap data`: list, check and split the images; called by the rule `data`."""

import argparse

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("data", run, "list, check and split the images (a step of the workflow)")
    parser.add_argument("--workers", type=int, default=1)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.data import DATA_DIRECTORY
    from resomap.data.manifest import make_manifest

    config = Study.load(given.study).config
    with step_lock("data"):
        remove_leftovers(DATA_DIRECTORY, is_locked=True)
        make_manifest(config.data, DATA_DIRECTORY, config.data.workers or given.workers)
