"""Classify images with the weights of a finished training, prepared as its own images were."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image

from resomap.cells.decision import OperatingPoint
from resomap.compute.device import choose_device, prepare_backend
from resomap.compute.inference import images_a_pass
from resomap.compute.temperature import tempered
from resomap.compute.thresholds import log_odds
from resomap.core.errors import ResomapError
from resomap.core.files import strict_json
from resomap.core.text import encodable
from resomap.data.clutter import kind_of_clutter
from resomap.data.damage import DamagedImage
from resomap.data.decode import decode, resize
from resomap.data.image_formats import is_image
from resomap.evaluation.trained_weights import Classifier, Weights
from resomap.winner.ensemble import averaged


@dataclass(frozen=True)
class Answer:
    """Class probabilities (`shares`) of one image, float32 [classes], or why there are none.

    `log_probabilities` are those at temperature 1.
    """

    image: str
    shares: np.ndarray | None
    error: str | None = None
    log_probabilities: np.ndarray | None = None

    def log_odds(self, index: int) -> float:
        """Return the log odds of one class against the others, which do not saturate as its share does."""
        assert self.log_probabilities is not None
        return float(log_odds(self.log_probabilities[None], index)[0])


@dataclass(frozen=True)
class ReadBy:
    """Resolution in pixels, temperature and, if there is one, operating point by which answers are read.

    basis: `transferred` where temperature and threshold were chosen on other trainings than the weights'.
    """

    resolution: int
    temperature: float
    point: OperatingPoint | None = None
    basis: str | None = None


def open_classifier(weights: Weights, device: str, resolution: int) -> Classifier:
    """Return the classifier on `auto`, `cpu` or `cuda`, for images of `resolution` pixels.

    Raises ResomapError where the device is not there or the network does not take that resolution.
    """
    if not 8 <= resolution <= 4096:
        raise ResomapError(f"--resolution {resolution} is no image size; give pixels between 8 and 4096")
    chosen = choose_device(device)
    prepare_backend(chosen, False, torch.get_num_threads())
    classifier = weights.classifier(chosen)
    reason = classifier.why_not(resolution)
    if reason is not None:
        raise ResomapError(f"{reason}; leave out --resolution")
    return classifier


def classify(
    classifiers: Sequence[Classifier], paths: Iterable[Path], resolution: int, temperature: float = 1.0
) -> Iterator[Answer]:
    """Yield an answer for each image, in order: files as they are named, folders with all images below them by name.

    Logits are divided by `temperature`; the probabilities of several classifiers, which are of one cell, are averaged.
    An image that cannot be read gives an answer with an error; the others go on.
    """
    size = images_a_pass(resolution)
    prepared = (_prepared(path, classifiers[0].weights, resolution) for path in _images(paths))
    while chunk := list(islice(prepared, size)):
        pixels = [found.pixels for found in chunk if isinstance(found, _Pixels)]
        batch = torch.from_numpy(np.stack(pixels)) if pixels else None
        logs = [one.predictor(batch).cpu().numpy() for one in classifiers] if batch is not None else []
        rows = iter(zip(*logs, strict=True))
        for found in chunk:
            yield found if isinstance(found, Answer) else _answer(found.image, next(rows), temperature)


def write_json(
    answers: Sequence[Answer], members: Sequence[Weights], read_by: ReadBy, top: int, stream: IO[str]
) -> None:
    """Write strict JSON: facts of the weights, and for each image its `predictions`, likeliest first, or `error`.

    With an operating point also `log_odds` of its class, and `positive`: whether they are above its threshold.
    """
    weights = members[0]
    content = {
        "weights": str(weights.path),
        "ensemble": [str(one.path) for one in members] if len(members) > 1 else None,
        "model": weights.name,
        "fingerprint": weights.fingerprint,
        "trained_resolution": weights.resolution,
        "resolution": read_by.resolution,
        "temperature": read_by.temperature,
        "operating_point": asdict(read_by.point) if read_by.point else None,
        "basis": read_by.basis,
        "images": [_plain(answer, weights.classes, top, read_by.point) for answer in answers],
    }
    stream.write(strict_json(content) + "\n")


def write_table(
    answers: Sequence[Answer], weights: Weights, top: int, stream: IO[str], point: OperatingPoint | None = None
) -> None:
    """Write a table with a row for each image that could be read: its likeliest classes with their probabilities.

    With an operating point it says first whether the image is called its class.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    verdict = [f"{point.positive}?"] if point else []
    for heading in ("image", *verdict, *(str(place) for place in range(1, min(top, len(weights.classes)) + 1))):
        table.add_column(heading, no_wrap=True, overflow="ignore")
    for answer in answers:
        if answer.shares is not None:
            ranked = _ranked(answer.shares, weights.classes, top)
            # As Text, because a name may hold brackets, which rich would read as markup.
            called = [Text("yes" if _is_positive(answer, weights.classes, point) else "no")] if point else []
            table.add_row(
                Text(encodable(answer.image)), *called, *(Text(f"{name} {share:.4f}") for name, share in ranked)
            )
    # Wide enough for every name: people copy them, and a pipe has no width of its own.
    console = Console(file=stream, highlight=False)
    console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)


@dataclass(frozen=True)
class _Pixels:
    image: str
    pixels: np.ndarray  # uint8 [resolution, resolution, channels]


def _images(paths: Iterable[Path]) -> Iterator[Path | Answer]:
    for path in paths:
        if not path.is_dir():
            yield path  # of any suffix, and even where there is none: reading it tells
            continue
        inside = sorted(_below(path))
        yield from inside
        if not inside:
            yield Answer(str(path), None, "no images in this folder")


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not kind_of_clutter(name, is_folder=True)]
        kept = (Path(place, name) for name in names if not kind_of_clutter(name, is_folder=False))
        yield from filter(is_image, kept)


def _prepared(path: Path | Answer, weights: Weights, resolution: int) -> _Pixels | Answer:
    """Decode and resize an image as the prepared store does; return an answer with an error if it is damaged."""
    if isinstance(path, Answer):
        return path
    try:
        pixels = decode(path, weights.white_level)
    except DamagedImage as damage:
        return Answer(str(path), None, str(damage))
    if pixels.shape[2] > weights.channels:  # the network has seen grey images only
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    square = resize(pixels, resolution, weights.fit)
    return _Pixels(str(path), np.broadcast_to(square, (resolution, resolution, weights.channels)))


def _ranked(shares: np.ndarray, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    order = np.argsort(-shares, kind="stable")[:top]
    return [(encodable(classes[index]), float(shares[index])) for index in order]


def _answer(image: str, logs: Sequence[np.ndarray], temperature: float) -> Answer:
    """Return the answer by the log-probabilities [classes] of each classifier."""
    shares: np.ndarray = np.stack([np.exp(tempered(one[None], temperature)[0]) for one in logs]).mean(axis=0)
    return Answer(image, shares, None, averaged(logs) if len(logs) > 1 else logs[0])


def _is_positive(answer: Answer, classes: Sequence[str], point: OperatingPoint) -> bool:
    return answer.log_odds(classes.index(point.positive)) > point.threshold


def _plain(answer: Answer, classes: Sequence[str], top: int, point: OperatingPoint | None) -> dict[str, Any]:
    image = encodable(answer.image)
    if answer.shares is None:
        return {"image": image, "error": answer.error}
    ranked = _ranked(answer.shares, classes, top)
    found = {"image": image, "predictions": [{"class": name, "probability": share} for name, share in ranked]}
    if point is None:
        return found
    odds = answer.log_odds(classes.index(point.positive))
    return {**found, "log_odds": odds, "positive": _is_positive(answer, classes, point)}
