"""Resolutions that a model takes, and its size there: known before the grid starts, without importing the libraries."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resomap.core.errors import ResomapError
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache

# FLOPs and activations of resnet50 for each pixel of an image: for forecasts of a network that cannot be counted.
ASSUMED_FLOPS, ASSUMED_ACTIVATIONS = 8.18e9 / 224**2, 11.1e6 / 224**2


@dataclass(frozen=True)
class Size:
    """Theoretical size of a model, built for two classes and one resolution.

    `flops` and `activations` are None, with a `reason`, where they cannot be counted.
    """

    weights: int  # bytes of its state dict in float32; 0 where this machine cannot build it
    flops: int | None  # of a forward pass of one image; a multiply-add counts as two
    activations: int | None  # elements that convolutions and matrix products write in that pass
    reason: str | None = None

    def forecast_flops(self, resolution: int) -> float:
        """FLOPs for a forecast: where they are unknown, as many as resnet50 has for images of so many pixels a side."""
        return self.flops if self.flops is not None else ASSUMED_FLOPS * resolution**2

    def forecast_activations(self, resolution: int) -> float:
        """Activations for a forecast, in elements: where they are unknown, as many as resnet50 has."""
        return self.activations if self.activations is not None else ASSUMED_ACTIVATIONS * resolution**2


def require_supported(pairs: Iterable[tuple[str, int]]) -> None:
    """Check that every (model, resolution in pixels) can be built and run; a new pair takes seconds.

    The names must be known (`ModelIndex.entry`). What can be trained and not counted is told on stderr. Raises
    ResomapError naming every pair that fails, with the library's reason and the nearest resolution that works.
    """
    answers = _ask(pairs)
    # A text says why it does not work.
    reasons = [answer for answer in answers.values() if isinstance(answer, str)]
    if reasons:
        raise ResomapError("; ".join(dict.fromkeys(reasons)))
    for (model, resolution), answer in answers.items():
        if isinstance(answer, dict) and answer["reason"]:
            print(
                f"resomap: the FLOPs of {model} at {resolution} px cannot be counted ({answer['reason']}): forecasts "
                "of its time and memory take those of resnet50, and its cells have no such figure",
                file=sys.stderr,
            )


def size_of(model: str, resolution: int) -> Size:
    """Return the size of a model at a resolution in pixels; of no weights where the model does not take it."""
    return sizes([(model, resolution)])[model, resolution]


def sizes(pairs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Size]:
    """Return the size of each (model, resolution in pixels), as `size_of` does; the cache is read once."""
    answers = _ask(pairs)
    return {
        pair: Size(0, None, None, answer) if isinstance(answer, str) else Size(**answer)
        for pair, answer in answers.items()
    }


def _ask(pairs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], dict[str, Any] | str]:
    wanted = list(dict.fromkeys(pairs))
    known = read_cache("fits")
    if any(_key(pair) not in known for pair in wanted):
        with writable_cache("fits") as path:
            known = read_cache("fits")
            missing = [pair for pair in wanted if _key(pair) not in known]
            if missing:
                if len(missing) > 5:
                    print(f"resomap: trying {len(missing)} models and resolutions, once ...", file=sys.stderr)
                known = {**known, **ask_process("resomap.models.probe", missing)}
                write_cache(path, known)
    return {pair: known[_key(pair)] for pair in wanted}


def _key(pair: tuple[str, int]) -> str:
    return f"{pair[0]}@{pair[1]}"
