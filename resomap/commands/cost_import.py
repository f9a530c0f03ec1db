"""`resomap cost-import`: take in the costs that a kit measured on another machine."""

import argparse
from pathlib import Path

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.place import for_reader


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("cost-import", run, "take in the costs.json of another machine")
    parser.add_argument("file", type=Path, help="that the kit's measure.py wrote")
    parser.add_argument("--device", metavar="NAME", help="in place of the name in the file")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells.costs_file import device_name, read_costs_file
    from resomap.cells.device_costs import keep_costs
    from resomap.cells.measurement import class_count

    costs = read_costs_file(given.file)
    if given.device is not None:
        try:
            costs = costs.model_copy(update={"device": device_name(given.device)})
        except ValueError as error:
            raise ResomapError(f"--device {error}") from None
    study = Study.load(given.study)
    classes, channels = class_count(study.config.data), study.config.data.input_channels
    if (costs.classes, costs.channels) != (classes, channels):
        raise ResomapError(
            f"{given.file} is of networks with {costs.classes} classes and {costs.channels} channels, and this study "
            f"has {classes} and {channels}; write a kit of this study (`resomap cost-kit DIR`)"
        )
    grid = {(model, size) for model in study.config.models for size in study.config.resolutions}
    here = grid & {(one.model, one.resolution) for one in costs.cells}
    if not here:
        raise ResomapError(
            f"{given.file} has none of this study's models at one of its resolutions; write a kit of this study "
            "(`resomap cost-kit DIR`)"
        )
    kept = keep_costs(costs)
    print(
        f"{for_reader(kept.path)}: {len(here)} of {len(grid)} cells on {costs.device} ({kept.way}); "
        f"`report: {{device: {costs.device}}}` has the map decide by them"
    )
