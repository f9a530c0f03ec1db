"""Proposal of a study for a source of images: models, resolutions and recipe, by their number and their size.

Nothing is trained for it. What it proposes is a beginning that a person edits: resolutions up to the images' own size,
models that this machine can train, and for few images folds or seeds, without which nothing is proven.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from resomap.commands.band_look import BandLook, look_at_bands
from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.core.text import first_few
from resomap.data import SPLITS
from resomap.data.damage import DamagedImage
from resomap.data.location import loads
from resomap.data.source import Item, Source, read_source
from resomap.machine.gpus import may_have_gpu
from resomap.models.weights_store import stored_file, weights_directory

# All of these models take each of them.
RESOLUTIONS = (32, 40, 48, 56, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
LARGEST = {"cpu": 224, "cuda": 512}
MODELS = {
    "cpu": ("resnet18", "mobilenetv4_conv_small", "efficientnet_b0"),
    "cuda": ("resnet18", "mobilenetv4_conv_small", "efficientnet_b0", "resnet50", "convnext_tiny"),
}
LOOKED_AT = 200  # images whose size is read
FEW, SOME = 1000, 5000  # images: below the first folds, below the second seeds
FOLDS, SEEDS = 5, (0, 1, 2)
SEEN = 20_000  # images that a training sees at least, in epochs of what there is
EPOCHS = range(25, 101)
TRAIN_SHARE = 0.7  # of the images, about


@dataclass(frozen=True)
class Look:
    """Findings of a look at a source: images by class, the median of their short sides, and whether it is split."""

    by_class: dict[str, int]
    short_side: int | None  # pixels; None where no image could be opened
    is_split: bool
    bands: BandLook | None = None  # of more channels than colours

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(self.by_class.values())

    def __str__(self) -> str:
        shown = first_few([f"{count:,} {name}" for name, count in self.by_class.items()], 6)
        size = f"; the short side has {self.short_side} px (median)" if self.short_side else ""
        channels = f", {self.bands.channels} channels" if self.bands else ""
        return f"{self.images:,} images in {len(self.by_class)} classes ({shown}){size}{channels}"


def look_at(source: str) -> Look:
    """Look at a source. Raises ResomapError where it has no images, or one class only."""
    found = _read(source)
    by_class = dict(sorted(Counter(item.label for item in found.items).items()))
    if len(by_class) < 2:
        raise ResomapError(
            f"{found.root} has images of {len(by_class)} class, and a classifier needs two; give a folder with a "
            "folder of images for each class"
        )
    looked_at = found.items[:: max(1, len(found.items) // LOOKED_AT)][:LOOKED_AT]
    bands = look_at_bands(looked_at)
    return Look(by_class, bands.short_side if bands else _short_side(looked_at), _is_split(found), bands)


def propose(source: str, look: Look, kind: str | None = None) -> dict[str, Any]:
    """Return the configuration of a study, with only what differs from the defaults. `kind`: `cpu` or `cuda`."""
    kind = kind or ("cuda" if may_have_gpu() else "cpu")
    resolutions = _resolutions(look.short_side or LARGEST[kind], LARGEST[kind])
    training = max(1, round(TRAIN_SHARE * look.images))
    data: dict[str, Any] = {"source": source}
    if source != "elpv":
        data["near_duplicates"] = "together"
    if look.bands:
        data["channels"] = look.bands.channels
        if look.bands.value_range:
            data["value_range"] = list(look.bands.value_range)
    config: dict[str, Any] = {
        "data": data,
        "models": list(MODELS[kind]),
        "resolutions": resolutions,
    }
    if look.images < FEW and not look.is_split:
        data["folds"] = FOLDS
    elif look.images < SOME:
        config["seeds"] = list(SEEDS)
    if look.images < SOME and len(tuned := _with_weights(MODELS[kind])) > 1:
        config |= {"models": tuned, "training": {"recipe": "finetune"}}
    elif (epochs := min(max(SEEN // training, EPOCHS.start), EPOCHS.stop - 1)) > EPOCHS.start:
        config["training"] = {"epochs": epochs, "batch_size": 16 if training < FEW else 32}
    return config


def as_yaml(config: dict[str, Any], look: Look) -> str:
    """Return the configuration as a file for a person, who edits it."""
    data, training = config["data"], config.get("training")
    lines = [
        f"# A study of {look}.",
        "# Only what differs from the defaults stands here: config/README.md of ResoMap lists every key.",
        "data:",
        f"  source: {_quoted(data['source'])}",
    ]
    if "near_duplicates" in data:
        lines.append("  near_duplicates: together  # copies of one picture stay on one side of the split")
    if "channels" in data:
        lines.append(f"  channels: {data['channels']}  # that every image has; the networks take as many")
    if "value_range" in data:
        low, high = (f"{end:g}" for end in data["value_range"])
        lines.append(f"  value_range: [{low}, {high}]  # of the images looked at: these become 0 and 255")
    if "folds" in data:
        lines.append(
            f"  folds: {data['folds']}  # every image outside the test split judges: with few, one split proves little"
        )
    lines += [f"models: [{', '.join(config['models'])}]"]
    lines += [f"resolutions: [{', '.join(map(str, config['resolutions']))}]  # up to the images' own size"]
    if "seeds" in config:
        lines.append(
            f"seeds: [{', '.join(map(str, config['seeds']))}]  # trainings a cell: they tell noise from an effect"
        )
    if training and "recipe" in training:
        lines.append(
            f"training: {{recipe: {training['recipe']}}}  # from pretrained weights, which are on this machine"
        )
    elif training:
        given = ", ".join(f"{name}: {value}" for name, value in training.items())
        lines.append(f"training: {{{given}}}  # few images: more epochs, or a training has too few steps")
    if look.images < SOME and "recipe" not in (training or {}):
        lines.append("# Few images gain most from pretrained weights: `resomap weights fetch MODEL...`, and here")
        lines.append("# training: {recipe: finetune}")
    return "\n".join(lines) + "\n"


def _read(source: str) -> Source:
    """Return the source, with arrays as its images where it has no others."""
    try:
        return read_source(Data(source=source))
    except ResomapError:
        with contextlib.suppress(ResomapError):
            return read_source(Data(source=source, channels=1))
        raise


def _with_weights(models: Sequence[str]) -> list[str]:
    """Return the models whose pretrained weights are on this machine, where no hub is asked for them."""
    directory = weights_directory(None)
    return [model for model in models if stored_file(directory, model) is not None]


def _quoted(text: str) -> str:
    import yaml

    return yaml.safe_dump(text, width=10**6, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _resolutions(short_side: int, largest: int) -> list[int]:
    """Return up to three resolutions, half as many pixels each, the largest the images' own or the machine's limit."""
    top = max((size for size in RESOLUTIONS if size <= min(short_side, largest)), default=RESOLUTIONS[0])
    wanted = (top / 2, top / 2**0.5, top)
    return sorted({min(RESOLUTIONS, key=lambda size: abs(size - each)) for each in wanted})


def _is_split(source: Source) -> bool:
    return tuple(source.split_here) != tuple(SPLITS)


def _short_side(items: Sequence[Item]) -> int | None:
    from PIL import Image

    unreadable = (OSError, ValueError, Image.DecompressionBombError, DamagedImage)
    sides = []
    for item in items:
        with contextlib.suppress(*unreadable), Image.open(io.BytesIO(next(loads([item.location]))())) as image:
            sides.append(min(image.size))
    return int(median(sides)) if sides else None
