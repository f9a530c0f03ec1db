"""`resomap status`: show the grid as a table."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.cells.resume_command import run_command
from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.place import for_reader
from resomap.core.workflow_files import OWN_CONFIGURATION

if TYPE_CHECKING:
    from resomap.status import CellStatus


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("status", run, "the grid as a table: done, running, failed, waiting")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="draw it anew until nothing runs any more")
    parser.add_argument("--svg", type=Path, help="save the table as a picture")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap import status
    from resomap.cells.presence import is_snakemake_running
    from resomap.data.changes import checked_digest
    from resomap.estimates.duration import START_SECONDS
    from resomap.status.forecast import predictions
    from resomap.winner.recommended import recommended

    study = Study.load(given.study)
    _say_what_is_newer(given.study)
    report, fingerprints = study.config.report, study.fingerprints()

    def collect() -> list[status.CellStatus]:
        digest = checked_digest(study.data_identity)  # anew each time: a run that is watched may check the images
        found = status.collect(fingerprints, fingerprints, report.metric, report.margin, digest)
        answer = recommended(study)
        shown = [dataclasses.replace(one, is_recommended=one.cell.map_position == answer) for one in found]
        return [*(_for_reader(study, one) for one in shown), *status.winner_status(study, report.metric, digest)]

    def forecast(statuses: list[status.CellStatus]) -> float | None:
        if (seconds := status.of_running_run(statuses)) is not None:
            return seconds
        predicted = predictions(study)
        return status.seconds_to_go(statuses, lambda cell: predicted.seconds(cell) + START_SECONDS)

    watch = status.Watch(seconds=given.watch or 0.0, refresh=collect, runs_on=is_snakemake_running)
    statuses = collect()
    if given.svg:
        title = f"resomap status: {study.config.experiment}"
        status.save_svg(statuses, given.svg, title, metric=report.metric, margin=report.margin, forecast=forecast)
    else:
        status.show(
            statuses,
            metric=report.metric,
            margin=report.margin,
            as_json=given.json,
            watch=watch if given.watch else None,
            forecast=forecast,
        )


def _for_reader(study: Study, status: "CellStatus") -> "CellStatus":
    """Return a status with the training's title, whose paths and commands work where this command was typed."""
    status = dataclasses.replace(status, title=study.title(status.cell))
    failure = status.failure
    if failure is None:
        return status
    resume = failure.resume if study.call.works_here else study.resume_command(status.cell)
    return dataclasses.replace(status, failure=dataclasses.replace(failure, log=for_reader(failure.log), resume=resume))


def _say_what_is_newer(study: Path) -> None:
    """Say that the study's own configuration was edited since it was planned: the table is of the former one."""
    try:
        is_newer = OWN_CONFIGURATION.stat().st_mtime > study.stat().st_mtime
    except OSError:
        return
    if is_newer:
        plan = run_command(Path.cwd(), subcommand="plan")
        print(f"{OWN_CONFIGURATION} was edited since this was planned; `{plan}` shows what follows", file=sys.stderr)
