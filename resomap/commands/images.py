"""`resomap images`: prepare the images of one resolution; called by the rule `images`.

The first job of a run prepares all sizes that the plan wants, from images that it decodes once, and leaves the other
jobs their parts.
"""

import argparse

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.names import resolution_of
from resomap.cells.study import Study
from resomap.cells.wanted import plan_id, wanted
from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("images", run, "prepare the images of one resolution (a step)")
    parser.add_argument("resolution")
    parser.add_argument("--workers", type=int, default=1)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells import images_part
    from resomap.data import DATA_DIRECTORY
    from resomap.data.store import FILE, array_file, store_directory

    resolution = resolution_of(given.resolution)
    data, plan = Study.load(given.study).config.data, plan_id(given.study)
    place = store_directory(DATA_DIRECTORY, resolution)
    with step_lock(f"images {resolution}"):
        remove_leftovers(place, is_locked=True)
        if not images_part.take_over(resolution, plan):
            from resomap.data.prepare import prepare_images

            images_part.remove_parts_of_others(plan)
            others = [size for size in map(int, wanted(given.study, "images")) if size != resolution]
            further = {
                size: images_part.begin_part(size)
                for size in others
                if not (store_directory(DATA_DIRECTORY, size) / FILE).exists()
            }
            made = prepare_images(DATA_DIRECTORY, resolution, data.workers or given.workers, data.on_disk, further)
            for size in made[1:]:
                images_part.finish_part(size, plan)
            images_part.remove_parts_of_others(plan)  # those that the disk had no room for
        if not data.keep_train:  # an output that Snakemake waits for, stored or not
            array_file(place, "train").touch()
