"""`resomap cost-kit`: a folder to copy to another machine, whose script measures the study's networks there."""

import argparse
import sys
from pathlib import Path

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection
from resomap.core.place import short
from resomap.export.export_files import ONNX
from resomap.export.requirements import require_packages


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("cost-kit", run, "a folder that measures the costs on another machine")
    parser.add_argument("folder", type=Path, metavar="DIR", help="to be written: empty, or not there yet")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells.measurement import class_count

    study, folder = Study.load(given.study), given.folder.absolute()
    require_packages(ONNX)
    with paused_collection():
        from resomap.cost.cost_kit import SCRIPT, planned_bytes, require_room, write_kit

    classes = class_count(study.config.data)
    needed = planned_bytes(study, classes)
    networks = len(study.config.models) * len(study.config.resolutions)
    print(f"{short(folder)}: about {needed / 1e6:,.0f} MB for {networks} networks", flush=True)
    require_room(folder, needed)
    kit = write_kit(study, classes, folder, lambda line: print(line, flush=True))
    for name, why in kit.left_out.items():
        print(f"resomap: {name} is left out: {why}", file=sys.stderr)
    print(
        f"{short(folder)}: {kit.size / 1e6:,.1f} MB, {kit.networks} networks; copy it to the other machine, "
        f"`pip install onnxruntime numpy` there, run `python {SCRIPT} --device NAME` in it, and take its costs.json in "
        "with `resomap cost-import costs.json`"
    )
