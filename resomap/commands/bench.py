"""`resomap bench`: measure how fast this machine trains, beside timm; `--gpu` checks that a GPU trains right too."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from resomap.commands import Commands
from resomap.core.errors import ResomapError
from resomap.core.files import write_text
from resomap.core.text import is_whole_number

# Of what the options say; with --gpu others hold (`GpuSettings`).
DEFAULTS: Mapping[str, Any] = {
    "models": "resnet18,mobilenetv4_conv_small",
    "resolutions": "128,224",
    "input_resolutions": "224,320,512",
    "workers": 2,
    "repeats": 3,
    "images": 600,
}


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("bench", run, "how fast this machine trains, beside what it could and beside timm")
    parser.add_argument("--parts", help="of inputs, steps, timm, start, checkpoint, planning; all is the default")
    parser.add_argument("--models", help=f"{DEFAULTS['models']} is the default; with --gpu the default study's eight")
    parser.add_argument("--resolutions", help="in pixels; 128,224 is the default, with --gpu 224,512")
    parser.add_argument("--input-resolutions", help="of the part inputs, in pixels; 224,320,512 is the default")
    parser.add_argument("--workers", type=int, help="processes of timm's loader; 2 is the default, with --gpu 8")
    parser.add_argument("--repeats", type=int, help="pairs of runs behind each ratio; 3 is the default, with --gpu 1")
    parser.add_argument("--images", type=int, help="of the ELPV data set, 600 is the default; drawn ones with --gpu")
    parser.add_argument(
        "--photos", type=int, metavar="PIXELS", help="work on colour JPEGs of this side, not on ELPV's 300 px"
    )
    parser.add_argument("--timm-train", type=Path, help="train.py of timm's repository, for the part timm")
    parser.add_argument("--output", type=Path, help="a Markdown file, beside the terminal; with --gpu a JSON file")
    parser.add_argument(
        "--gpu", action="store_true", help="check that trainings on a GPU are right, and measure it: 8 minutes at most"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), help="with --gpu; cpu rehearses it on tiny networks")
    parser.add_argument("--seconds", type=float, help="with --gpu; 480 is the default, 1800 on a CPU")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    if given.gpu:
        return _run_on_gpu(given)
    if given.device or given.seconds is not None:
        raise ResomapError("--device and --seconds belong to --gpu; add it")
    for name, default in DEFAULTS.items():
        if getattr(given, name) is None:
            setattr(given, name, default)
    models = given.models.split(",")
    resolutions, input_resolutions = _whole_numbers(given.resolutions), _whole_numbers(given.input_resolutions)
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
    if "timm" in parts:
        _require_script(given.timm_train)
    lines = []
    settings = {name: getattr(given, name) for name in ("workers", "repeats", "images", "photos", "timm_train")}
    sizes = {"resolutions": resolutions, "input_resolutions": input_resolutions}
    for line in bench(parts, models=models, **sizes, **settings):
        lines.append(line)
        print(line, flush=True)
    if given.output:
        write_text(given.output, "\n".join(lines) + "\n")
    return 0


def _run_on_gpu(given: argparse.Namespace) -> int:
    from resomap.bench.gpu.gpu_settings import GpuSettings
    from resomap.bench.gpu.gpu_suite import LIMIT_SECONDS, REHEARSAL_SECONDS, run_suite
    from resomap.bench.gpu.part_table import PARTS
    from resomap.config import Config

    if given.photos is not None or given.input_resolutions is not None:
        raise ResomapError("--photos and --input-resolutions do not belong to --gpu, which draws its images; drop them")
    names = [one.name for one in PARTS]
    wanted = given.parts.split(",") if given.parts else names
    if wrong := [name for name in wanted if name not in names]:
        raise ResomapError(f"--parts has no {wrong[0]} with --gpu; choose of {', '.join(names)}")
    counts = ("workers", "repeats", "images")
    changes = {name: getattr(given, name) for name in counts if getattr(given, name) is not None}
    if any(count < 1 for count in changes.values()):
        raise ResomapError("--workers, --repeats and --images take 1 or more with --gpu")
    if given.models:
        changes["models"] = tuple(given.models.split(","))
    if given.resolutions is not None:
        if not (resolutions := _whole_numbers(given.resolutions)):
            raise ResomapError("--resolutions takes whole pixels separated by commas")
        changes["resolutions"] = tuple(resolutions)
    if given.timm_train:
        _require_script(given.timm_train)
        changes["timm_train"] = str(given.timm_train.absolute())
    is_rehearsal = given.device == "cpu"
    limit = given.seconds or (REHEARSAL_SECONDS if is_rehearsal else LIMIT_SECONDS)
    parts = [replace(one, seconds=limit) if is_rehearsal else one for one in PARTS if one.name in wanted]

    def settings_in(place: Path) -> GpuSettings:
        if is_rehearsal:
            return GpuSettings.rehearsal(place, **changes)
        return GpuSettings(place=str(place), **{"models": tuple(Config().models), **changes})

    code = 0
    for line in run_suite(settings_in, given.output, parts, limit):
        if isinstance(line, int):
            code = line
        else:
            print(line, flush=True)
    return code


def _whole_numbers(texts: str) -> list[int]:
    """Return the numbers of a list in text; none where one of them is no whole number."""
    parts = texts.split(",")
    return [int(text) for text in parts] if all(map(is_whole_number, parts)) else []


def _require_script(script: Path | None) -> None:
    if not (script and script.is_file()):
        raise ResomapError(
            "--timm-train is to name the file train.py of a checkout of timm's repository "
            "(huggingface/pytorch-image-models on GitHub); the package timm does not have it"
        )
