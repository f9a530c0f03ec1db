"""`resomap cost`: measure the cost of one model at one resolution; called by the rule `cost`."""

import argparse
import sys

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.measurement import Measurement, measurements
from resomap.cells.study import Study
from resomap.cells.wanted import plan_id, wanted
from resomap.commands import Commands
from resomap.core.files import write_json
from resomap.core.gc_control import paused_collection
from resomap.machine.cpus import available_cores
from resomap.machine.gpu_lock import bind_gpu


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("cost", run, "measure the cost of a model at a resolution (a step)")
    parser.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--memory-mb", type=int, default=8000, help="what it may take in main memory")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand.

    The first job of a run measures what the plan wants of the grid, and leaves the other jobs their parts.
    """
    from resomap.cells import measurement_part

    study = Study.load(given.study)
    cell = study.find(given.cell)
    cores = study.config.cost.threads
    threads = given.threads if cores == "all" or given.device == "cuda" else min(cores, given.threads)
    own, plan = Measurement(cell.model, cell.resolution, given.device), plan_id(given.study)

    def is_taken_over() -> bool:
        return measurement_part.take_over(own, own.settings(study, given.classes), threads, plan)

    # One process at a time, and the next one finds what this one measured. Before a GPU is bound: who waits needs none.
    with step_lock(f"cost {given.device}"):
        remove_leftovers(own.path.parent)
        if is_taken_over():
            return
        if given.device == "cuda":
            bind_gpu()
        with paused_collection():
            from resomap.cost.session import measure_together, reasons_of

        grid = measurements(study, given.device)
        names = wanted(given.study, "cost") if own in grid else []
        together = [one for one in grid if one == own or one.name in names] or [own]
        reference = next((one for one in grid if one not in together and one.path.exists()), None)
        found = measure_together(together, study, given.classes, threads, given.memory_mb * 10**6, reference)
        for one, content in found.items():
            if one != own:
                measurement_part.write_part(one, content, plan)
            for note in reasons_of(one, content):
                print(f"resomap: {note}", file=sys.stderr)
        write_json(own.path, found[own])
