"""`resomap predict`: classify images with the winner, a trained cell or an exported file."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection
from resomap.core.text import encodable

if TYPE_CHECKING:
    from resomap.prediction.networks import Network
    from resomap.prediction.whole_folders import Written

_SHOWN = 5  # unreadable images that are named, where all stand in a file


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("predict", run, "what the winner, or a trained cell, says of images")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cell", help="MODEL@RESOLUTION, for example vgg11@320, in place of the winner")
    which.add_argument("--weights", type=Path, help="a best.pt, wherever it lies")
    which.add_argument("--onnx", type=Path, help="a file that `resomap export` wrote, computed by ONNX Runtime")
    parser.add_argument("images", nargs="+", type=Path, help="files, folders with images below them, tables and shards")
    parser.add_argument("--column", help="of the images in a table, where its name does not tell")
    parser.add_argument("--resolution", type=int, help="in pixels, in place of the training's")
    parser.add_argument("--top", type=int, default=3, help="classes an image, likeliest first")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--output", "-o", type=Path, help="a .csv, .json, .jsonl or .parquet; a call that was stopped is gone on with"
    )
    parser.add_argument("--each-class", action="store_true", help="in the file the probability of each class")
    parser.add_argument("--workers", type=int, help="processes that decode images; one a core if not given")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.prediction.answer_files import require_known_form

    _require_sense(given)
    if given.output is not None:
        require_known_form(given.output)
    with paused_collection():
        network = _network(given)
    return _to_file(given, network) if given.output is not None else _to_terminal(given, network)


def _require_sense(given: argparse.Namespace) -> None:
    if given.top < 1:
        raise ResomapError(f"--top {given.top} shows nothing; give 1 or more")
    if given.workers is not None and given.workers < 1:
        raise ResomapError(f"--workers {given.workers} decodes nothing; give 1 or more")
    if given.output is not None and given.json:
        raise ResomapError("--json is for the terminal, and the ending of --output says its form; leave it out")
    if given.each_class and given.output is None:
        raise ResomapError("--each-class is for a file; name one with --output, or give --top")


def _network(given: argparse.Namespace) -> "Network":
    """Return the network that the command's words name."""
    from resomap.commands.weights_reader import reader_of
    from resomap.prediction.networks import exported_network, trained_network

    if given.onnx is not None:
        if given.device == "cuda":
            raise ResomapError("--onnx is computed on the processor; leave out --device")
        network = exported_network(given.onnx)
        if given.resolution not in (None, network.form.resolution):
            raise ResomapError(
                f"{given.onnx} takes {network.form.resolution} px alone; leave out --resolution, or use the weights "
                "with --cell"
            )
        return network
    reader = reader_of(given)
    trained = reader.weights[0].resolution
    resolution = given.resolution or trained
    point = reader.point if resolution == trained else None
    network = trained_network(reader.weights, given.device, resolution, reader.temperature, point, reader.basis)
    if reader.point is not None and point is None:
        print(f"resomap: the threshold is of {trained} px, and is not used here", file=sys.stderr)
    return network


def _to_terminal(given: argparse.Namespace, network: "Network") -> int:
    from resomap.prediction.answer_rows import write_document, write_table
    from resomap.prediction.image_answers import answers, batches_of
    from resomap.prediction.image_list import listed
    from resomap.prediction.progress_bar import progress_bar

    images = list(listed(given.images, given.column, network.form.bands is not None))
    found = []
    with progress_bar(len(images)) as advance:
        for answered in answers(network, batches_of(network, images), given.workers):
            found += answered
            advance(len(answered))
    unread = [answer for answer in found if answer.error is not None]
    if given.json:
        write_document(found, network, given.top, sys.stdout)
    elif len(unread) < len(found):
        write_table(found, network, given.top, sys.stdout)
    for answer in unread:
        print(f"resomap: {answer.image}: {answer.error}", file=sys.stderr)
    return 1 if unread else 0


def _to_file(given: argparse.Namespace, network: "Network") -> int:
    from resomap.prediction.image_list import listed
    from resomap.prediction.whole_folders import Asked, write_answers

    asked = Asked(target=given.output, top=given.top, each_class=given.each_class, workers=given.workers)
    written = write_answers(network, list(listed(given.images, given.column, network.form.bands is not None)), asked)
    for row in written.unread[:_SHOWN]:
        print(f"resomap: {row['image']}: {row['error']}", file=sys.stderr)
    print(f"resomap: {_said(given.output, network, written)}", file=sys.stderr)
    return 1 if written.unread else 0


def _said(path: Path, network: "Network", written: "Written") -> str:
    """Return a sentence on what was written, by what and how fast."""
    words = [
        f"{encodable(str(path))}: {written.images:,} images by {network.model} at {network.form.resolution} px, "
        f"temperature {network.temperature:.3g}"
    ]
    if (point := network.point) is not None:
        words.append(f"{point.positive} where the log odds are above {point.threshold:.4g}")
    if written.rate is not None:
        words.append(f"{written.rate:.0f} images/s")
    if written.unread:
        words.append(f"{len(written.unread):,} could not be read (their reasons are under `error`)")
    return "; ".join(words)
