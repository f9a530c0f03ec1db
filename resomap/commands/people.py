"""What a person types: `resomap status`, `models`, `sync`, `forget`, `config`."""

import argparse
import sys
from pathlib import Path

from resomap.commands import Commands
from resomap.study import Study


def add_people(commands: Commands) -> None:
    """Add these subcommands."""
    status = commands.add_with_study("status", _status, "the grid as a table: done, running, failed, waiting")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--watch", type=float, metavar="SECONDS", help="draw it anew until nothing runs any more")
    status.add_argument("--svg", type=Path, help="save the table as a picture")
    models = commands.add("models", _models, "the names of the models that can be trained")
    models.add_argument("pattern", nargs="?", help="a part of the name")
    commands.add_with_study("sync", _sync, "send to the tracker what was written while it was away")
    forget = commands.add_with_study("forget", _forget, "set all of a cell aside, so that it trains anew")
    forget.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    forget.add_argument("--tracker", action="store_true", help="its run no longer counts as complete either")
    config = commands.add("config", _config, "write config.yaml, its README and its schema from the code")
    config.add_argument("--root", type=Path, default=Path())
    config.add_argument("--check", action="store_true", help="only tell whether they have drifted")


def _status(given: argparse.Namespace) -> None:
    from resomap import status

    study = Study.load(given.study)
    report, fingerprints = study.config.report, study.fingerprints()

    def collect() -> list[status.CellStatus]:
        return status.collect(fingerprints, fingerprints, report.metric, report.margin)

    statuses = collect()
    if given.svg:
        title = f"resomap status: {study.config.experiment}"
        status.save_svg(statuses, given.svg, title, metric=report.metric, margin=report.margin)
    else:
        status.show(
            statuses,
            metric=report.metric,
            margin=report.margin,
            as_json=given.json,
            watch_seconds=given.watch,
            refresh=collect,
        )


def _models(given: argparse.Namespace) -> None:
    from resomap.models.listing import print_models

    print_models(given.pattern)


def _sync(given: argparse.Namespace) -> int:
    from resomap.tracking.sync import send_all

    return send_all(Study.load(given.study))


def _forget(given: argparse.Namespace) -> None:
    from resomap.forget import forget

    study = Study.load(given.study)
    for sentence in forget(study, study.find(given.cell), given.tracker):
        print(sentence)


def _config(given: argparse.Namespace) -> int:
    from resomap.config import document

    if not given.check:
        for path in document.write_documents(given.root):
            print(f"wrote {path}")
        return 0
    drifted = document.drifted(given.root)
    for path in drifted:
        print(f"{path} differs from the code; `resomap config` writes it anew", file=sys.stderr)
    return 1 if drifted else 0
