"""`resomap features`: a frozen network's features for all trainings of a square; called by the rule `features`."""

import argparse
import os

from resomap.cells import shared_features
from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.commands import Commands, add_share
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import bind_share
from resomap.train.signals import SignalWatch


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("features", run, "compute a frozen network's features at a resolution (a step)")
    parser.add_argument("model")
    parser.add_argument("resolution", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    add_share(parser)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    study = Study.load(given.study)
    bind_share(study.config.device, given.share)
    from resomap.core.logging import say

    with paused_collection():
        from resomap.train.feature_step import write_features

    with step_lock(f"features {given.model} {given.resolution}"), SignalWatch() as signals:
        path = shared_features.path_of(given.model, given.resolution)
        remove_leftovers(path.parent, *path.with_suffix("").glob("*"))
        write_features(study, given.model, given.resolution, given.threads, signals, say)
