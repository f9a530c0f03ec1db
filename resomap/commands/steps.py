"""What the rules of the workflow call: one subcommand a step."""

import argparse
import os
import sys
import traceback
from pathlib import Path

from resomap.commands import Commands
from resomap.errors import Interrupted, ResomapError, RunsElsewhere
from resomap.gpu_lock import bind_gpu
from resomap.loading import loading
from resomap.slurm import in_words, requeue_at_time_limit
from resomap.study import Study


def add_steps(commands: Commands) -> None:
    """Add these subcommands."""
    data = commands.add_with_study("data", _data, "list, check and split the images (a step of the workflow)")
    data.add_argument("--workers", type=int, default=1)
    images = commands.add_with_study("images", _images, "prepare the images of one resolution (a step)")
    images.add_argument("resolution")
    images.add_argument("--workers", type=int, default=1)
    train = commands.add_with_study("train", _train, "train one cell, or go on with it (a step)")
    train.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    train.add_argument("--fingerprint", help="refuse to train under any other")
    train.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    train.add_argument("--attempt", type=int, default=1)
    fetch = commands.add_with_study("fetch", _fetch, "the files of a cell that was trained elsewhere (a step)")
    fetch.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    evaluate = commands.add_with_study("evaluate", _evaluate, "a done cell at every resolution (a step)")
    evaluate.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    evaluate.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    cost = commands.add_with_study("cost", _cost, "measure the cost of a model at a resolution (a step)")
    cost.add_argument("cell", help="MODEL@RESOLUTION, for example vgg11@320")
    cost.add_argument("--device", choices=("cpu", "cuda"), required=True)
    cost.add_argument("--classes", type=int, required=True)
    cost.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    cost.add_argument("--memory-mb", type=int, default=8000, help="what it may take in main memory")
    microbatch = commands.add_with_study("microbatch", _microbatch, "find how many images a forward pass fit (a step)")
    microbatch.add_argument("model")
    microbatch.add_argument("--classes", type=int, required=True)
    microbatch.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    microbatch.add_argument("--memory-mb", type=int, default=8000, help="what it may take in main memory")
    costs = commands.add_with_study("costs", _costs, "the table of measured costs (a step)")
    costs.add_argument("--classes", type=int, required=True)
    costs.add_argument("--output", type=Path, required=True)
    map_ = commands.add_with_study("map", _map, "the map of what is there: tables and recommendation (a step)")
    map_.add_argument("--device", choices=("cpu", "cuda"), help="whose costs count; else those that are known of more")
    report = commands.add_with_study("report", _report, "results/report.html, of what is there (a step)")
    report.add_argument("--device", choices=("cpu", "cuda"), help="whose costs count, as for the map")


def _data(given: argparse.Namespace) -> None:
    from resomap.data import DATA_DIRECTORY
    from resomap.data.manifest import make_manifest

    config = Study.load(given.study).config
    make_manifest(config.data, DATA_DIRECTORY, config.data.workers or given.workers)


def _images(given: argparse.Namespace) -> None:
    from resomap.data import DATA_DIRECTORY
    from resomap.data.prepare import prepare_images
    from resomap.data.store import array_file, store_directory

    if not given.resolution.isdigit():
        raise ResomapError(f"'{given.resolution}' is no resolution; write whole pixels, for example 224")
    config = Study.load(given.study).config
    prepare_images(DATA_DIRECTORY, int(given.resolution), config.data.workers or given.workers, config.data.on_disk)
    if not config.data.keep_train:  # an output that Snakemake waits for, stored or not
        array_file(store_directory(DATA_DIRECTORY, int(given.resolution)), "train").touch()


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
    say(f"{cell.name}: attempt {given.attempt}, process {os.getpid()}{in_words()}")
    from resomap.train.attempt import train_cell
    from resomap.train.request import Request, record_failure

    request = Request(study, cell, given.threads, given.attempt, say)
    try:
        train_cell(request)
    except Interrupted as error:
        say(f"interrupted: {error}")
        requeue_at_time_limit(study.config.checkpoints.grace_seconds, say)
        print(f"resomap: {cell.name}: {error}", file=terminal, flush=True)
        # At once: a save that did not end in its grace still runs in a thread, on which a normal exit would trip.
        os._exit(error.exit_code)
    except RunsElsewhere as error:
        # No failure: nothing is wrong here, and nothing is to be mended.
        say(f"gave way: {error}")
        print(f"resomap: {cell.name} is {error}", file=terminal, flush=True)
        request.progress_path.unlink(missing_ok=True)
        return error.exit_code
    except Exception as error:
        if not isinstance(error, ResomapError):
            traceback.print_exc()
        failure = record_failure(request, error, log)
        say(f"failed: {failure.reason}")
        print(f"resomap: {cell.name} failed: {failure.reason} (log: {log})", file=terminal, flush=True)
        return failure.exit_code
    return 0


def _fetch(given: argparse.Namespace) -> None:
    from resomap.tracking.fetch import fetch_cell

    study = Study.load(given.study)
    fetch_cell(study, study.find(given.cell), print)


def _evaluate(given: argparse.Namespace) -> None:
    from resomap.log import say

    with loading():
        from resomap.evaluation.step import evaluate_cell

    study = Study.load(given.study)
    evaluate_cell(study, study.find(given.cell), given.threads, say)


def _cost(given: argparse.Namespace) -> None:
    from resomap.cost.measurement import Measurement

    study = Study.load(given.study)
    cell = study.find(given.cell)
    measurement = Measurement(cell.model, cell.resolution, given.device)
    if given.device == "cuda":
        bind_gpu()
    with loading():
        from resomap.cost.measure import measure

    for note in measure(measurement, study, given.classes, given.threads, given.memory_mb * 10**6):
        print(f"resomap: {note}", file=sys.stderr)


def _microbatch(given: argparse.Namespace) -> None:
    study = Study.load(given.study)
    if study.config.device != "cpu":
        bind_gpu()
    from resomap.log import say

    with loading():
        from resomap.train.microbatch import find_microbatch

    find_microbatch(study, given.model, given.classes, given.threads, given.memory_mb * 10**6, say)


def _costs(given: argparse.Namespace) -> None:
    from resomap.cost.table import write_table

    write_table(Study.load(given.study), given.classes, given.output)


def _map(given: argparse.Namespace) -> None:
    with loading():
        from resomap.map.step import make_map, words

    print(words(make_map(Study.load(given.study), given.device)), flush=True)


def _report(given: argparse.Namespace) -> None:
    with loading():
        from resomap.report.step import make_report

    print(f"report: {make_report(Study.load(given.study), given.device)}", flush=True)
