"""Resolutions that a model takes, and its size there: known before the grid starts, without importing the libraries."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from resomap.core.errors import ResomapError
from resomap.models.cache import ask_process, read_cache, writable_cache, write_cache


@dataclass(frozen=True)
class Size:
    """Theoretical size of a model, built for two classes and one resolution; 0 where it is not known."""

    weights: int  # bytes of its state dict in float32
    flops: int  # of a forward pass of one image; a multiply-add counts as two
    activations: int  # elements that convolutions and matrix products write in that pass


def require_supported(pairs: Iterable[tuple[str, int]]) -> None:
    """Check that every (model, resolution in pixels) can be built and run; a new pair takes seconds.

    The names must be known (`ModelIndex.entry`). Raises ResomapError naming every pair that fails, with the
    library's reason and the nearest resolution that works.
    """
    answers = _ask(pairs)
    # A text says why it does not work.
    reasons = [answer for answer in answers.values() if isinstance(answer, str)]
    if reasons:
        raise ResomapError("; ".join(dict.fromkeys(reasons)))


def size_of(model: str, resolution: int) -> Size:
    """Return the size of a model at a resolution in pixels; zeros where the model does not take it."""
    return sizes([(model, resolution)])[model, resolution]


def sizes(pairs: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Size]:
    """Return the size of each (model, resolution in pixels), as `size_of` does; the cache is read once."""
    answers = _ask(pairs)
    return {pair: Size(0, 0, 0) if isinstance(answer, str) else Size(**answer) for pair, answer in answers.items()}


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
