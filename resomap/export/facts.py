"""Facts that stand inside of an exported file: how images are read for it, and how its answers are.

Each is text by its name, and the text is JSON, so that one call of a JSON reader gives its value:

    model, library, fingerprint, uid, epoch    whose weights these are
    classes          names in the order of the logits
    resolution       pixels of the square that the network takes
    channels         1: images are made grey first; 3: they are read in colour; else as many as the images have
    bands            where the study named its channels: their number, and the stored values that become 0 and 255
    fit              how an image becomes the square: see `data.fit`; `interpolation` is the filter
    crop_pct         share of the scaled image that is kept, as timm has it: all of it
    mean, std        of each input channel, for pixels in 0..1
    white_level      of grey images whose files do not tell it: see docs/data.md
    temperature      by which logits are divided before the softmax
    operating_point  metric, at, positive, threshold: the image is `positive` where log p - log(1 - p) at temperature 1
                     is above the threshold; null where none was asked for
    precision        fp32, fp16 or int8
    versions         of the libraries that wrote the file
"""

import json
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from resomap import __version__
from resomap.cells.decision import OperatingPoint
from resomap.compute.normalisation import Normalisation
from resomap.evaluation.trained_weights import Weights

# As `Normalisation` bounds it.
_SMALLEST_STD = 1e-3
INPUT, OUTPUT = "images", "logits"
_LIBRARIES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "openvino")


def facts_of(weights: Weights, temperature: float, point: OperatingPoint | None, precision: str) -> dict[str, str]:
    """Return the facts as text in JSON, by name."""
    mean, std = of_each_channel(weights.normalisation)
    content: dict[str, Any] = {
        "model": weights.name,
        "library": weights.library,
        "fingerprint": weights.fingerprint,
        "uid": weights.uid,
        "epoch": weights.epoch,
        "classes": weights.classes,
        "resolution": weights.resolution,
        "channels": weights.channels,
        "bands": weights.bands.as_json() if weights.bands else None,
        "fit": weights.fit,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "mean": mean,
        "std": std,
        "white_level": weights.white_level,
        "temperature": temperature,
        "operating_point": asdict(point) if point else None,
        "precision": precision,
        "versions": {"resomap": __version__} | versions(),
    }
    return {name: json.dumps(value, allow_nan=False) for name, value in content.items()}


def of_each_channel(normalisation: Normalisation) -> tuple[list[float], list[float]]:
    """Return mean and deviation of each input channel of the network; grey statistics count for each of them."""
    channels = normalisation.channels
    std = [max(value, _SMALLEST_STD) for value in normalisation.std]
    return [*normalisation.mean] * (channels // len(normalisation.mean)), std * (channels // len(std))


def versions() -> dict[str, str]:
    """Return the versions of the libraries of an export that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
