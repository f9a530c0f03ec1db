"""`resomap learning_rate`: find a model's learning rate by short trials; called by the rule `learning_rate`."""

import argparse
import os

from resomap.cells import learning_rate_choice
from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands, add_share
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import bind_share
from resomap.train.signals import SignalWatch


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("learning_rate", run, "find a model's learning rate by short trials (a step)")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    add_share(parser)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    study = Study.load(given.study)
    bind_share(study.config.device, given.share)
    from resomap.core.logging import say

    with paused_collection():
        from resomap.train.learning_rate_search import find_learning_rate

    with step_lock(f"learning_rate {given.model}"), SignalWatch() as signals:
        remove_leftovers(learning_rate_choice.DIRECTORY)
        find_learning_rate(study, given.model, given.threads, signals, say)
