"""`resomap explain`: where in an image a model saw its class, at each of its resolutions, as a picture."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.cells.study import Study
from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.gc_control import paused_collection
from resomap.core.text import encodable

if TYPE_CHECKING:
    from resomap.explanation.explaining import Shown, Trained

_MOST = 24  # images in one picture


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_with_study("explain", run, "where a model saw its class, at each resolution, as a picture")
    parser.add_argument(
        "--cell", help="MODEL for all its resolutions, or MODEL@RESOLUTION, in place of the recommended model"
    )
    parser.add_argument("--images", nargs="+", type=Path, help="in place of test images: files, folders, tables")
    parser.add_argument("--count", type=int, default=6, help="images in the picture")
    parser.add_argument("--output", "-o", type=Path, help="the picture, a .png")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    if not 1 <= given.count <= _MOST:
        raise ResomapError(f"--count {given.count} makes no picture; give 1 to {_MOST}")
    if given.output is not None and given.output.suffix.lower() != ".png":
        raise ResomapError(f"{given.output} is no name of a picture; let it end with .png")
    study = Study.load(given.study)
    with paused_collection():
        from resomap.cells.explanation_record import picture_path
        from resomap.compute.device import choose_device
        from resomap.explanation.activation_maps import require_captum
        from resomap.explanation.explaining import explain

        require_captum()
        name = given.cell or _recommended_model(study)
        members = _members(study, name)
        shown = _shown(given, members)
    target = given.output or picture_path(name if given.images is None else f"{name}.images")
    unread = explain(members, shown, target, choose_device(given.device))
    for image in unread:
        print(f"resomap: {encodable(image.name)}: {image.error}", file=sys.stderr)
    print(f"{target}: {len(shown.images) - len(unread)} images at {len(members)} resolutions", flush=True)
    return 1 if unread else 0


def _recommended_model(study: Study) -> str:
    from resomap.winner.winner_weights import recommended_cell

    return study.find(recommended_cell(study)).model


def _members(study: Study, name: str) -> "list[Trained]":
    """Return the trained cells of a model, from the lowest resolution to the highest, or the one that is named."""
    from resomap.explanation.explaining import Trained

    if "@" in name:
        cells = [study.find(name)]
    else:
        cells = [study.cell(name, resolution) for resolution in sorted(study.config.resolutions)]
    members = [member for cell in cells if (member := Trained.of(cell)) is not None]
    if not members:
        raise ResomapError(
            f"{name} has no finished training with its best.pt here; train it with "
            f"`{study.resume_command(cells[0])}` and `best` in `checkpoints.keep`"
        )
    return members


def _shown(given: argparse.Namespace, members: "list[Trained]") -> "Shown":
    from resomap.explanation.explaining import Shown, test_images
    from resomap.prediction.image_list import listed

    if given.images is None:
        return test_images(members, given.count)
    images = list(listed(given.images, arrays=members[0].weights.bands is not None))
    if len(images) > given.count:
        print(f"resomap: the first {given.count} of {len(images):,} images are shown", file=sys.stderr)
    return Shown(images[: given.count], None)
