"""`resomap bench`: measure how fast this machine trains, beside timm."""

import argparse
from pathlib import Path

from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.files import write_text
from resomap.core.text import is_whole_number


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("bench", run, "how fast this machine trains, beside what it could and beside timm")
    parser.add_argument("--parts", help="of inputs, steps, timm, start, checkpoint, planning; all is the default")
    parser.add_argument("--models", default="resnet18,mobilenetv4_conv_small")
    parser.add_argument("--resolutions", default="128,224", help="in pixels")
    parser.add_argument("--input-resolutions", default="224,320,512", help="of the part inputs, in pixels")
    parser.add_argument("--workers", type=int, default=2, help="processes of timm's loader")
    parser.add_argument("--repeats", type=int, default=3, help="pairs of runs behind each ratio")
    parser.add_argument("--images", type=int, default=600, help="of the ELPV data set")
    parser.add_argument(
        "--photos", type=int, metavar="PIXELS", help="work on colour JPEGs of this side, not on ELPV's 300 px"
    )
    parser.add_argument("--timm-train", type=Path, help="train.py of timm's repository, for the part timm")
    parser.add_argument("--output", type=Path, help="a Markdown file, beside the terminal")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    models = given.models.split(",")
    resolutions, input_resolutions = (
        [int(text) for text in texts.split(",") if is_whole_number(text)]
        for texts in (given.resolutions, given.input_resolutions)
    )
    from resomap.bench.benchmark import PARTS, bench

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
