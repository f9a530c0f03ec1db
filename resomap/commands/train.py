"""`resomap train`: train one cell, or resume it; called by the rule `train`."""

import argparse
import os
from collections.abc import Callable

from resomap.cells.study import Study
from resomap.cells.wanted import wanted
from resomap.commands import Commands, add_share
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection
from resomap.machine.gpu_lock import claim_share
from resomap.machine.slurm import in_words
from resomap.train.signals import SignalWatch


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("train", run, "run one training, or go on with it (a step)")
    parser.add_argument("cell", metavar="training", help="its name, for example vgg11@320 or vgg11@320.seed1")
    parser.add_argument("--fingerprint", help="refuse to train under any other")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--attempt", type=int, default=1)
    add_share(parser)


def run(given: argparse.Namespace) -> int:
    """Run the subcommand; signals are heard from here to the end of the process."""
    with SignalWatch() as signals:
        code = train(given, signals)
        signals.stay_deaf()
    return code


def train(given: argparse.Namespace, signals: SignalWatch) -> int:
    """Train the cell that a command line names, and return the exit code."""
    from resomap.core.logging import say, send_output_to

    claim_share(given.share)
    study = Study.load(given.study)
    cell = study.find(given.cell)
    if given.fingerprint not in (None, study.fingerprint(cell)):
        raise ResomapError(
            f"{cell.name} now has the fingerprint {study.fingerprint(cell)}, not {given.fingerprint}: settings or data "
            "changed while the workflow ran; start it again"
        )
    log = cell.beside_marker("log")
    terminal = os.fdopen(os.dup(2), "w")
    send_output_to(log)
    say(f"{cell.name}: attempt {given.attempt}, process {os.getpid()}{in_words()}")
    from resomap.commands.attempts import attempt
    from resomap.train.attempt import train_cell
    from resomap.train.request import Request

    request = Request(study, cell, given.threads, given.attempt, say)

    def leave_evaluation(between: Callable[[], None]) -> None:
        """Evaluate the trained cell while torch is loaded, for the rule `evaluate` to take over."""
        if cell.name in wanted(given.study, "evaluate"):
            with paused_collection():
                from resomap.evaluation.evaluation_writer import leave_trained_part

            leave_trained_part(study, cell, given.threads, say, between)

    return attempt(request, log, terminal, lambda: train_cell(request, leave_evaluation, watch=signals), signals)
