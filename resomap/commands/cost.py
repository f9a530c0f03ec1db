"""`resomap cost`: measure the cost of one model at one resolution; called by the rule `cost`."""

import argparse
import os
import sys

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import bind_gpu


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("cost", run, "measure the cost of a model at a resolution (a step)")
    parser.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory-mb", type=int, default=8000, help="what it may take in main memory")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.cells.measurement import Measurement

    study = Study.load(given.study)
    cell = study.find(given.cell)
    measurement = Measurement(cell.model, cell.resolution, given.device)
    if given.device == "cuda":
        bind_gpu()
    with paused_collection():
        from resomap.cost.measure import measure

    with step_lock(f"cost {given.device} {cell.map_position}"):
        remove_leftovers(measurement.path.parent)
        for note in measure(measurement, study, given.classes, given.threads, given.memory_mb * 10**6):
            print(f"resomap: {note}", file=sys.stderr)
