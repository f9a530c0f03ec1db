"""Build a network by its name: library, input size, classes, dropout, starting weights."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.models.hub import load_default
from resomap.models.index import COLOURS, ModelEntry
from resomap.models.input_channels import take_channels
from resomap.models.size_options import size_options
from resomap.models.survey import entry_of
from resomap.models.weights import Statistics, read_weights
from resomap.models.weights_fit import fit_weights
from resomap.models.weights_store import Origin, origin_of

IMAGENET_MEAN: Statistics = (0.485, 0.456, 0.406)
IMAGENET_STD: Statistics = (0.229, 0.224, 0.225)

# Where the libraries keep the dropout between the pooled features and the class scores.
_HEADS = ("classifier", "dropout", "drop", "head", "head_drop", "heads", "fc")


@dataclass(frozen=True)
class BuiltModel:
    """A network on the CPU, and the normalisation that its starting weights ask of the images.

    `mean`, `std`: per channel of images in [0, 1]; None where the weights are random, so that the caller may
    take those of its data. `notes`: what somebody who reads the log should know, one sentence each. `origin`: of the
    weights, None where they are random.
    """

    model: nn.Module
    mean: Statistics | None
    std: Statistics | None
    notes: list[str] = field(default_factory=list)
    origin: Origin | None = None


def build_model(
    name: str,
    resolution: int,
    num_classes: int,
    *,
    weights: str | None = None,
    dropout: float | None = None,
    directory: Path | None = None,
    channels: int = COLOURS,
) -> BuiltModel:
    """Build a classifier for [N, channels, resolution, resolution] images whose `logits` are [N, num_classes].

    Random weights come from torch's global generator: the caller seeds. `weights`: None, "default" (the
    library's own, from `directory`, its cache or the net) or the path of a file. `dropout`: probability before the
    head, None for the model's own.
    Raises ResomapError: unknown name, a resolution it cannot be built for, a dropout it has no place for,
    weights that are out of reach, unsafe or of another network.
    """
    entry = entry_of(name)
    try:
        model = construct(entry, resolution, num_classes, dropout, channels)
        if channels != COLOURS:
            _try(model, resolution, channels)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        of = f"{resolution} px images" if channels == COLOURS else f"{resolution} px images of {channels} channels"
        raise ResomapError(f"{name} cannot be built for {of}: {first_line(error)}") from error
    if weights is None:
        return BuiltModel(model, None, None)
    mean, std = default_statistics(entry, model) if channels == COLOURS else (None, None)
    if weights == "default":
        return BuiltModel(model, mean, std, *load_default(entry, model, resolution, num_classes, directory))
    found = read_weights(weights)
    notes = fit_weights(entry, model, found.states, f"the weights file {weights}")
    origin = origin_of(Path(weights).expanduser())
    if channels != COLOURS:  # of colours that its images do not have
        return BuiltModel(model, None, None, notes, origin)
    return BuiltModel(model, found.mean or mean, found.std or std, notes, origin)


def construct(
    entry: ModelEntry, resolution: int, num_classes: int, dropout: float | None = None, channels: int = COLOURS
) -> nn.Module:
    """Build the network with random weights, on torch's default device (the meta device to try it out for free).

    Raises ResomapError for a dropout without a place, and whatever the library raises for a resolution that
    its architecture does not take.
    """
    if entry.library == "timm":
        network = _construct_timm(entry, resolution, num_classes, dropout, channels)
        _require_whole_patches(network, resolution)
        return network
    model: nn.Module = torchvision.models.get_model(entry.name, **builder_options(entry, resolution, num_classes))
    if dropout is not None and not _set_head_dropout(model, dropout) and dropout > 0:
        raise _no_dropout(entry)
    if channels != COLOURS:
        take_channels(model, channels)
    return model


def builder_options(entry: ModelEntry, resolution: int, num_classes: int, channels: int = COLOURS) -> dict[str, Any]:
    """Return the keywords with which the library's own builder makes the network, its dropout aside: plain values.

    The builders are `timm.create_model` and `torchvision.models.get_model`, which knows no number of channels: there
    the first convolution is another one.
    """
    options = {"num_classes": num_classes, **size_options(entry, resolution)}
    if entry.library == "timm" and channels != COLOURS:
        options |= {"in_chans": channels}
    if entry.library == "torchvision" and entry.name in ("googlenet", "inception_v3"):
        # No auxiliary heads: their loss is a recipe of its own, and they bound the input size from below.
        options |= {"aux_logits": False, "init_weights": True}
    return options


def logits(output: Any) -> Tensor:
    """Return the logits, scores [N, classes], of whatever a network returns (auxiliary heads beside them, say)."""
    if isinstance(output, Tensor):
        return output
    scores = getattr(output, "logits", None)
    return scores if isinstance(scores, Tensor) else logits(output[0])


def default_statistics(entry: ModelEntry, model: nn.Module) -> tuple[Statistics, Statistics]:
    """Return mean and standard deviation, per channel, of the images that the library's weights were trained with."""
    if entry.library == "timm":
        cfg: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        return tuple(cfg.get("mean") or IMAGENET_MEAN), tuple(cfg.get("std") or IMAGENET_STD)
    if entry.name in ("googlenet", "inception_v3"):
        # torchvision turns ImageNet's normalisation into this one inside the network (`transform_input`),
        # only for pretrained weights. Doing it outside keeps one network for all of them.
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    try:
        transforms = torchvision.models.get_model_weights(entry.name)["DEFAULT"].transforms()
    except KeyError:  # torchvision has no weights for it
        return IMAGENET_MEAN, IMAGENET_STD
    return tuple(transforms.mean), tuple(transforms.std)


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error message, cut to 200 characters, to be part of a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
    return text if len(text) <= 200 else f"{text[:197]}..."


def _construct_timm(
    entry: ModelEntry, resolution: int, num_classes: int, dropout: float | None, channels: int
) -> nn.Module:
    options = builder_options(entry, resolution, num_classes, channels)
    if dropout is None:
        return timm.create_model(entry.name, **options)
    try:
        model = timm.create_model(entry.name, drop_rate=dropout, **options)
    except TypeError as error:
        if "drop_rate" not in str(error):
            raise
        model = timm.create_model(entry.name, **options)
        _set_head_dropout(model, dropout)
    taken = any(
        (isinstance(module, nn.Dropout) and module.p == dropout) or getattr(module, "drop_rate", None) == dropout
        for module in model.modules()
    )
    if dropout > 0 and not taken:
        raise _no_dropout(entry)
    return model


def _try(model: nn.Module, resolution: int, channels: int) -> None:
    """Put one image through: networks that normalise colours inside take no other number, and say so only here."""
    with torch.no_grad():
        model.eval()(torch.zeros(1, channels, resolution, resolution))
    model.train()


def _require_whole_patches(model: nn.Module, resolution: int) -> None:
    """Raise ValueError where pixels at the border fill no patch: timm leaves them out and says nothing."""
    for module in model.modules():
        if isinstance(module, timm.layers.PatchEmbed) and module.img_size and not module.dynamic_img_pad:
            height, width = module.patch_size
            if resolution % height or resolution % width:
                raise ValueError(f"its patches of {height} px do not cover {resolution} px")


def _set_head_dropout(model: nn.Module, dropout: float) -> bool:
    """Set the probability of the dropouts in front of the head; return True if there were any."""
    found = [
        module
        for path, module in model.named_modules()
        if isinstance(module, nn.Dropout) and path.split(".")[0] in _HEADS
    ]
    for module in found:
        module.p = dropout
    return bool(found)


def _no_dropout(entry: ModelEntry) -> ResomapError:
    others = [name for name in timm.list_models(f"{entry.name}.*", pretrained=True) if entry.library == "torchvision"]
    instead = f" or train timm's '{others[0]}', which has one" if others else ""
    return ResomapError(
        f"{entry.name} of {entry.library} has no dropout before its head; set `dropout: null` for it under "
        f"`overrides`{instead}"
    )
