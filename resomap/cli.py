"""The command `resomap`: each subcommand imports what it needs when it runs, so that `status` stays quick."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from resomap import __version__
from resomap.errors import Interrupted, ResomapError
from resomap.study import CURRENT, Study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; a user's mistake is one sentence on stderr and an exit code that is not 0."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given) or 0
    except ResomapError as error:
        print(f"resomap: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe has gone (`resomap models | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="resomap", description="Which model, at which input resolution?")
    parser.add_argument("--version", action="version", version=f"resomap {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(run=run)
        return added

    def with_study(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--study", type=Path, default=CURRENT, help="as the workflow wrote it")
        return added

    status = with_study(command("status", _status, "the grid as a table: done, running, failed, waiting"))
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--watch", type=float, metavar="SECONDS", help="draw it anew until nothing runs any more")
    status.add_argument("--svg", type=Path, help="save the table as a picture")
    models = command("models", _models, "the names of the models that can be trained")
    models.add_argument("pattern", nargs="?", help="a part of the name")
    with_study(command("sync", _sync, "send to the tracker what was written while it was away"))
    forget = with_study(command("forget", _forget, "set all of a cell aside, so that it trains anew"))
    forget.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    forget.add_argument("--tracker", action="store_true", help="its run no longer counts as complete either")
    config = command("config", _config, "write config.yaml, its README and its schema from the code")
    config.add_argument("--root", type=Path, default=Path())
    config.add_argument("--check", action="store_true", help="only tell whether they have drifted")

    data = with_study(command("data", _data, "list, check and split the images (a step of the workflow)"))
    data.add_argument("--workers", type=int, default=1)
    images = with_study(command("images", _images, "prepare the images of one resolution (a step)"))
    images.add_argument("resolution")
    images.add_argument("--workers", type=int, default=1)
    train = with_study(command("train", _train, "train one cell, or go on with it (a step of the workflow)"))
    train.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    train.add_argument("--fingerprint", help="refuse to train under any other")
    train.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    train.add_argument("--attempt", type=int, default=1)
    summary = with_study(command("summary", _summary, "the table of done cells (a step of the workflow)"))
    summary.add_argument("--output", type=Path, required=True)
    return parser


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


def _data(given: argparse.Namespace) -> None:
    from resomap.data import DATA_DIRECTORY
    from resomap.data.manifest import make_manifest

    config = Study.load(given.study).config
    make_manifest(config.data, DATA_DIRECTORY, config.data.workers or given.workers)


def _images(given: argparse.Namespace) -> None:
    from resomap.data import DATA_DIRECTORY
    from resomap.data.prepare import prepare_images

    if not given.resolution.isdigit():
        raise ResomapError(f"'{given.resolution}' is no resolution; write whole pixels, for example 224")
    config = Study.load(given.study).config
    prepare_images(DATA_DIRECTORY, int(given.resolution), config.data.workers or given.workers)


def _train(given: argparse.Namespace) -> int:
    from resomap.log import say, send_output_to

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
    say(f"{cell.name}: attempt {given.attempt}, process {os.getpid()}")
    from resomap.train.cell import train_cell
    from resomap.train.request import Request, record_failure

    request = Request(study, cell, given.threads, given.attempt, say)
    try:
        train_cell(request)
    except Interrupted as error:
        say(f"interrupted: {error}")
        print(f"resomap: {cell.name}: {error}", file=terminal, flush=True)
        # At once: a save that did not end in its grace still runs in a thread, on which a normal exit would trip.
        os._exit(error.exit_code)
    except Exception as error:
        if not isinstance(error, ResomapError):
            traceback.print_exc()
        failure = record_failure(request, error, log)
        say(f"failed: {failure.reason}")
        print(f"resomap: {cell.name} failed: {failure.reason} (log: {log})", file=terminal, flush=True)
        return failure.exit_code
    return 0


def _summary(given: argparse.Namespace) -> None:
    from resomap.summary import write_summary

    write_summary(Study.load(given.study), given.output)
