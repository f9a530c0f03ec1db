"""`resomap map`: write results/summary.json and its tables; called by the rule `map`."""

import argparse

from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("map", run, "the map of what is there: tables and recommendation (a step)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="whose costs count; default: the one with more measurements"
    )


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    with paused_collection():
        from threadpoolctl import threadpool_limits

        from resomap.summary.summary_writer import make_map, summary_text

    # Its matrices are small. Threads that spin for them take 20 times as long on a machine that does other things too.
    with step_lock("map"), threadpool_limits(1, user_api="blas"):
        print(summary_text(make_map(Study.load(given.study), given.device)), flush=True)
