"""`resomap predict`: classify images with the weights of a trained cell."""

import argparse
import sys
from pathlib import Path

from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("predict", run, "what the winner, or a trained cell, says of images")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cell", help="MODEL@RESOLUTION, for example vgg11@320, in place of the winner")
    which.add_argument("--weights", type=Path, help="a best.pt, wherever it lies")
    parser.add_argument("images", nargs="+", type=Path, help="files, and folders with images below them")
    parser.add_argument("--resolution", type=int, help="in pixels, in place of the training's")
    parser.add_argument("--top", type=int, default=3, help="classes an image, likeliest first")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    with paused_collection():
        from resomap.commands import prediction
        from resomap.commands.weights_reader import reader_of

    if given.top < 1:
        raise ResomapError(f"--top {given.top} shows nothing; give 1 or more")
    reader = reader_of(given)
    weights = reader.weights[0]
    resolution = given.resolution or weights.resolution
    classifiers = [prediction.open_classifier(one, given.device, resolution) for one in reader.weights]
    answers = list(prediction.classify(classifiers, given.images, resolution, reader.temperature))
    point = reader.point
    if point is not None and resolution != weights.resolution:
        print(f"resomap: the threshold is of {weights.resolution} px, and is not used here", file=sys.stderr)
        point = None
    unread = [answer for answer in answers if answer.error is not None]
    if given.json:
        read_by = prediction.ReadBy(resolution, reader.temperature, point, reader.basis)
        prediction.write_json(answers, reader.weights, read_by, given.top, sys.stdout)
    elif len(unread) < len(answers):
        prediction.write_table(answers, weights, given.top, sys.stdout, point)
    for answer in unread:
        print(f"resomap: {answer.image}: {answer.error}", file=sys.stderr)
    return 1 if unread else 0
