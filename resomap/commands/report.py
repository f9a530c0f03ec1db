"""`resomap report`: write results/report.html; called by the rule `report`."""

import argparse

from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection
from resomap.core.place import for_reader


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("report", run, "results/report.html, of what is there (a step)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="whose costs count, as for the map")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    study = Study.load(given.study)
    with paused_collection():
        from resomap.report.library import begin_bundle

        library = begin_bundle()
        from resomap.report.report_writer import make_report

    with step_lock("report"):
        print(f"report: {for_reader(make_report(study, given.device, library))}", flush=True)
