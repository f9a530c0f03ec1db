"""`resomap winner`: refit the recommended cell, or make an ensemble of its trainings; called by the rule `winner`."""

import argparse
import os

from resomap.cells.lock import step_lock
from resomap.cells.study import Study
from resomap.cells.winner_cell import ENSEMBLE, NAME, Winner
from resomap.commands import Commands
from resomap.core.gc_control import paused_collection


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("winner", run, "train the recommended cell on train + validation (a step)")
    parser.add_argument("--cell", help="MODEL@RESOLUTION in place of the recommended one")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--attempt", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="whose costs count in the report, as for the map")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.core.logging import say, send_output_to
    from resomap.machine.slurm import in_words
    from resomap.winner.begin import begin
    from resomap.winner.recommended import other_recommendation

    study = Study.load(given.study)
    with step_lock(NAME):
        begun = begin(study, given.cell or study.config.winner.cell, print)
        if begun.marker is not None and (other := other_recommendation(study, begun.choice)):
            print(other, flush=True)
        if begun.choice.kind == ENSEMBLE:
            with paused_collection():
                from resomap.winner.ensemble import make_ensemble

            make_ensemble(study, begun)
        else:
            from resomap.commands.attempts import attempt
            from resomap.train.refit_request import RefitRequest
            from resomap.train.signals import SignalWatch
            from resomap.winner.refitting import refit

            request = RefitRequest(study, begun.cell, given.threads, given.attempt, say, begun.choice)
            log = Winner.of_any_cell().beside_marker("log")
            terminal = os.fdopen(os.dup(2), "w")
            send_output_to(log)
            say(f"{begun.cell.name}: attempt {given.attempt}, process {os.getpid()}{in_words()}")
            with SignalWatch() as signals:
                code = attempt(request, log, terminal, lambda: refit(request, begun, signals), signals)
            if code:
                return code
    _show_in_report(study, given.device)
    return 0


def _show_in_report(study: Study, kind: str | None) -> None:
    """Write the report anew where there is one. A failure is said: the winner is done, and the next report shows it."""
    with paused_collection():
        from resomap.report.report_writer import REPORT, make_report

    if not REPORT.exists():
        return
    try:
        with step_lock("report"):
            make_report(study, kind)
    except Exception as error:
        print(f"resomap: the report does not show the winner yet ({error}); `resomap report` writes it", flush=True)
