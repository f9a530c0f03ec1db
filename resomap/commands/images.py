"""`resomap images`: prepare the images of one resolution; called by the rule `images`."""

import argparse

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.names import resolution_of
from resomap.cells.study import Study
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("images", run, "prepare the images of one resolution (a step)")
    parser.add_argument("resolution")
    parser.add_argument("--workers", type=int, default=1)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.data import DATA_DIRECTORY
    from resomap.data.prepare import prepare_images
    from resomap.data.store import array_file, store_directory

    resolution = resolution_of(given.resolution)
    config = Study.load(given.study).config
    with step_lock(f"images {resolution}"):
        remove_leftovers(store_directory(DATA_DIRECTORY, resolution), is_locked=True)
        prepare_images(DATA_DIRECTORY, resolution, config.data.workers or given.workers, config.data.on_disk)
        if not config.data.keep_train:  # an output that Snakemake waits for, stored or not
            array_file(store_directory(DATA_DIRECTORY, resolution), "train").touch()
