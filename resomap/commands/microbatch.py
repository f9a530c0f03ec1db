"""`resomap microbatch`: find the largest microbatch that fits; called by the rule `microbatch`."""

import argparse
import os

from resomap.cells import microbatch_choice
from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands, add_share
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import bind_share


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("microbatch", run, "find how many images a forward pass fit (a step)")
    parser.add_argument("model")
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--memory-mb", type=int, default=8000, help="what it may take in main memory")
    add_share(parser)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    study = Study.load(given.study)
    bind_share(study.config.device, given.share)
    from resomap.core.logging import say

    with paused_collection():
        from resomap.train.microbatch_search import find_microbatch

    with step_lock(f"microbatch {given.model}"):
        remove_leftovers(microbatch_choice.DIRECTORY)
        find_microbatch(study, given.model, given.classes, given.threads, given.memory_mb * 10**6, say)
