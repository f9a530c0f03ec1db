"""`resomap status`: show the grid as a table."""

import argparse
from pathlib import Path

from resomap.cells.study import Study
from resomap.commands import Commands


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
    from resomap.status.forecast import predictions

    study = Study.load(given.study)
    report, fingerprints = study.config.report, study.fingerprints()

    def collect() -> list[status.CellStatus]:
        digest = checked_digest(study.data_identity)  # anew each time: a run that is watched may check the images
        found = status.collect(fingerprints, fingerprints, report.metric, report.margin, digest)
        return [*found, *status.winner_status(study, report.metric, digest)]

    def forecast(statuses: list[status.CellStatus]) -> float | None:
        return status.seconds_to_go(statuses, predictions(study).seconds)

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
