"""What a person types: `status`, `models`, `sync`, `forget`, `predict`, `adopt`, `doctor`, `bench`, `config`."""

import argparse
import sys
from pathlib import Path

from resomap.commands import Commands
from resomap.errors import ResomapError
from resomap.files import write_text
from resomap.loading import loading
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
    predict = commands.add_with_study("predict", _predict, "what a trained cell says of images")
    which = predict.add_mutually_exclusive_group(required=True)
    which.add_argument("--cell", help="MODEL@RESOLUTION, for example vgg11@320")
    which.add_argument("--weights", type=Path, help="a best.pt, wherever it lies")
    predict.add_argument("images", nargs="+", type=Path, help="files, and folders with images below them")
    predict.add_argument("--resolution", type=int, help="in pixels, in place of the training's")
    predict.add_argument("--top", type=int, default=3, help="classes an image, likeliest first")
    predict.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    predict.add_argument("--json", action="store_true", help="for programs")
    adopt = commands.add_with_study("adopt", _adopt, "let runs of an older script, named MODEL_RESOLUTION, count here")
    adopt.add_argument("names", nargs="*", metavar="MODEL_RESOLUTION", help="none: only list them")
    adopt.add_argument("--all", action="store_true", help="all that can be adopted, the newest of each cell")
    adopt.add_argument(
        "--run", dest="runs", action="append", default=[], metavar="ID", help="this very run (its first digits do)"
    )
    adopt.add_argument("--experiment", help="where they are, if not in this study's experiment")
    adopt.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="THEIRS=OURS",
        help="what a metric of theirs means, for example acc=test/accuracy",
    )
    doctor = commands.add_with_study("doctor", _doctor, "check data, disk, tracker, credentials, Slurm and device")
    doctor.add_argument("--configfile", type=Path, nargs="+", help="in place of the study of this directory")
    bench = commands.add("bench", _bench, "how fast this machine trains, beside what it could and beside timm")
    bench.add_argument("--parts", help="of inputs, steps, timm, start, checkpoint, planning; all is the default")
    bench.add_argument("--models", default="resnet18,mobilenetv4_conv_small")
    bench.add_argument("--resolutions", default="128,224", help="in pixels")
    bench.add_argument("--input-resolutions", default="224,320,512", help="of the part inputs, in pixels")
    bench.add_argument("--workers", type=int, default=2, help="processes of timm's loader")
    bench.add_argument("--repeats", type=int, default=3, help="pairs of runs behind each ratio")
    bench.add_argument("--images", type=int, default=600, help="of the ELPV data set")
    bench.add_argument(
        "--photos", type=int, metavar="PIXELS", help="work on colour JPEGs of this side, not on ELPV's 300 px"
    )
    bench.add_argument("--timm-train", type=Path, help="train.py of a checkout of timm's repository, for the part timm")
    bench.add_argument("--output", type=Path, help="a Markdown file, beside the terminal")
    config = commands.add("config", _config, "write config.yaml, its README and its schema from the code")
    config.add_argument("--root", type=Path, default=Path())
    config.add_argument("--check", action="store_true", help="only tell whether they have drifted")


def _status(given: argparse.Namespace) -> None:
    from resomap import status
    from resomap.status.forecast import predictions

    study = Study.load(given.study)
    report, fingerprints = study.config.report, study.fingerprints()

    def collect() -> list[status.CellStatus]:
        return status.collect(fingerprints, fingerprints, report.metric, report.margin)

    def forecast(statuses: list[status.CellStatus]) -> float | None:
        return status.seconds_to_go(statuses, predictions(study).seconds)

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
            watch_seconds=given.watch,
            refresh=collect,
            forecast=forecast,
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


def _predict(given: argparse.Namespace) -> int:
    with loading():
        from resomap import predict
        from resomap.evaluation.weights import Weights

    if given.top < 1:
        raise ResomapError(f"--top {given.top} shows nothing; give 1 or more")
    if given.weights:
        weights = Weights.load(given.weights)
    else:
        weights = predict.cell_weights(Study.load(given.study), given.cell)
    resolution = given.resolution or weights.resolution
    classifier = predict.open_classifier(weights, given.device, resolution)
    answers = list(predict.classify(classifier, given.images, resolution))
    unread = [answer for answer in answers if answer.error is not None]
    if given.json:
        predict.write_json(answers, weights, resolution, given.top, sys.stdout)
    elif len(unread) < len(answers):
        predict.write_table(answers, weights, given.top, sys.stdout)
    for answer in unread:
        print(f"resomap: {answer.image}: {answer.error}", file=sys.stderr)
    return 1 if unread else 0


def _adopt(given: argparse.Namespace) -> None:
    from resomap.adopt import Adoption

    adoption = Adoption(Study.load(given.study), given.experiment, given.metric)
    chosen = given.names or given.all or given.runs
    for line in adoption.adopt(given.names, given.runs, given.all) if chosen else adoption.listing():
        print(line)


def _doctor(given: argparse.Namespace) -> int:
    from resomap.config import Config
    from resomap.config.load import load_config
    from resomap.doctor.examine import examine

    if given.configfile:
        config = load_config(*given.configfile)
    elif given.study.exists():
        config = Study.load(given.study).config
    else:
        print("no snakemake has run here yet: this is about the default configuration (--configfile names another)")
        config = Config()
    findings = []
    for finding in examine(config):
        findings.append(finding)
        print(finding.lines(), flush=True)
    bad = sum(finding.level == "bad" for finding in findings)
    print(f"{bad} to mend" if bad else "nothing stands in the way")
    return 1 if bad else 0


def _bench(given: argparse.Namespace) -> None:
    models = given.models.split(",")
    resolutions, input_resolutions = (
        [int(text) for text in texts.split(",") if text.isdigit()]
        for texts in (given.resolutions, given.input_resolutions)
    )
    from resomap.bench.run import PARTS, bench

    parts = given.parts.split(",") if given.parts else [name for name in PARTS if name != "timm" or given.timm_train]
    if wrong := [part for part in parts if part not in PARTS]:
        raise ResomapError(f"--parts has no {wrong[0]}; choose of {', '.join(PARTS)}")
    if not (resolutions and input_resolutions) or given.repeats < 1:
        raise ResomapError(
            "--resolutions and --input-resolutions take whole pixels separated by commas, and --repeats 1 or more"
        )
    if given.photos is not None and given.photos < 1:
        raise ResomapError("--photos takes the side of the images, 1 pixel or more")
    if "timm" in parts and not (given.timm_train and given.timm_train.is_file()):
        raise ResomapError(
            "--timm-train is to name the file train.py of a checkout of timm's repository "
            "(huggingface/pytorch-image-models on GitHub); the package timm does not have it"
        )
    lines = []
    settings = {name: getattr(given, name) for name in ("workers", "repeats", "images", "photos", "timm_train")}
    sizes = {"resolutions": resolutions, "input_resolutions": input_resolutions}
    for line in bench(parts, models=models, **sizes, **settings):
        lines.append(line)
        print(line, flush=True)
    if given.output:
        write_text(given.output, "\n".join(lines) + "\n")


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
