"""Files of starting weights: read without running code in them, and the networks that they may hold."""

import argparse
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from resomap.core.errors import ResomapError
from resomap.core.files import open_regular
from resomap.models.weights_digest import unreadable

State = dict[str, Tensor]
Statistics = tuple[float, ...]  # a value for each channel: one for greyscale images, or three

# Where a checkpoint keeps several networks, an averaged one is the better one.
_AVERAGED = ("ema", "swa", "average")
_PREFIXES = ("module.", "_orig_mod.")
# Counter of torch's AveragedModel, beside its network.
_COUNTERS = ("n_averaged",)
_DEEPEST = 4  # levels of a checkpoint that are searched for networks
_numpy_scalar = np.float64(0).__reduce__()[0]  # which rebuilds a NumPy number; its own name is private
# What training programs store beside tensors, as harmless as numbers: timm's command line, NumPy's best accuracy.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")},
]


@dataclass(frozen=True)
class NamedState:
    """A state dict in a file, and where it stands there: '' at its top, else keys with dots."""

    place: str
    state: State


@dataclass(frozen=True)
class WeightsFile:
    """Networks that a file may hold, the best first, and the normalisation of its images where the file says so."""

    states: list[NamedState]
    mean: Statistics | None
    std: Statistics | None


def read_weights(path: str) -> WeightsFile:
    """Return the state dicts in a .safetensors file or in one written by torch.save, on the CPU.

    They may lie in a checkpoint, under whatever name; the prefixes of DistributedDataParallel and torch.compile come
    off. Raises ResomapError: no such file, damaged, a pickle that would run code, or no state dict in it.
    """
    place = Path(path).expanduser()
    try:
        with open_regular(place):
            pass
        content = _load_safetensors(place) if place.suffix == ".safetensors" else _load_torch(place)
    except OSError as error:
        raise unreadable(path, error) from None
    states = sorted(_states(content), key=_is_plain)
    if not states:
        raise ResomapError(
            f"the weights file {path} holds no plain state dict (tensors by name), neither at its top nor in one of "
            "its entries; save the network's state_dict() and give that file"
        )
    return WeightsFile(states, _statistics(content.get("mean")), _statistics(content.get("std")))


def _states(content: Any, place: str = "", depth: int = 0) -> Iterator[NamedState]:
    """Yield every mapping of names to tensors in a checkpoint, from the outside in."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    if content and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()):
        if all(value.dim() == 0 for value in content.values()):
            return  # figures, such as the best score so far
        yield NamedState(
            place, {_without_prefixes(key): value for key, value in content.items() if key not in _COUNTERS}
        )
        return
    for key, value in content.items():
        if isinstance(key, str):
            yield from _states(value, f"{place}.{key}" if place else key, depth + 1)


def _is_plain(found: NamedState) -> bool:
    return not any(word in found.place.lower() for word in _AVERAGED)


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ResomapError(f"the weights file {path} is not a readable safetensors file: {error}") from None


def _load_torch(path: Path) -> Mapping[str, Any]:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch.save writes a zip archive, pickle itself starts with this byte; anything else is no pickle at all.
        if "nsupported" not in str(error) or not _start(path).startswith((b"PK", b"\x80")):
            raise _damaged(path) from error
        raise ResomapError(
            f"the weights file {path} is a pickle of more than tensors, which could run code when loaded, so it was "
            "not; save the network's state_dict() (or safetensors) and give that file"
        ) from error
    except OSError:
        raise
    except Exception as error:  # what a damaged pickle raises depends on the byte where it breaks
        raise _damaged(path) from error
    if not isinstance(content, Mapping):
        raise ResomapError(
            f"the weights file {path} holds a {type(content).__name__}, not a state dict; save the network's "
            "state_dict() and give that file"
        )
    return content


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(2)


def _damaged(path: Path) -> ResomapError:
    return ResomapError(
        f"the weights file {path} is damaged, or neither .safetensors nor written by torch.save; get it anew"
    )


def _without_prefixes(name: str) -> str:
    while name.startswith(_PREFIXES):
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
    return name


def _statistics(value: Any) -> Statistics | None:
    if not isinstance(value, list | tuple) or len(value) not in (1, 3):
        return None
    return tuple(float(each) for each in value)
