"""Starting weights from a file: read without running code in it, their tensors fitted to a network."""

import argparse
import pickle
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.core.files import open_regular
from resomap.models.index import ModelEntry
from resomap.models.weights_digest import unreadable

State = dict[str, Tensor]
Triple = tuple[float, float, float]

# Where training programs put the state dict in their checkpoint; an averaged one is the better one.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.")
# torchvision's auxiliary heads, which are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# timm's functions that turn older or foreign checkpoints into today's, by the names they have in its modules.
_TIMM_FILTERS = (
    "checkpoint_filter_fn",
    "pretrained_filter_fn",
    "_filter_fn",
    "_filter_torchvision_pretrained",
)
# Tensors of one layer that often have the same shape: a match in order must also agree on these.
_LEAVES = {"weight", "bias", "running_mean", "running_var", "gamma", "beta"}
_BATCH_COUNT = "num_batches_tracked"


@dataclass(frozen=True)
class WeightsFile:
    """A state dict, and the normalisation of its images where the file says so (our own best.pt does)."""

    state: State
    mean: Triple | None
    std: Triple | None


def read_weights(path: str) -> WeightsFile:
    """Return the tensors of a .safetensors file or of a state dict written by torch.save, on the CPU.

    A checkpoint around the state dict and the prefixes of DistributedDataParallel and torch.compile come off.
    Raises ResomapError: no such file, damaged, a pickle that would run code, or no state dict in it.
    """
    place = Path(path).expanduser()
    try:
        with open_regular(place):
            pass
        content = _load_safetensors(place) if place.suffix == ".safetensors" else _load_torch(place)
    except OSError as error:
        raise unreadable(path, error) from None
    wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
    state = content[wrapper] if wrapper else content
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise ResomapError(
            f"the weights file {path} holds no plain state dict (tensors by name), neither at its top nor "
            f"under {', '.join(_WRAPPERS)}; save the network's state_dict() and give that file"
        )
    return WeightsFile(
        {_without_prefixes(key): value for key, value in state.items()},
        _triple(content.get("mean")),
        _triple(content.get("std")),
    )


def fit_weights(entry: ModelEntry, model: nn.Module, state: State, source: str) -> list[str]:
    """Load a state dict into the network; return notes on what had to be done for that, one sentence each.

    Tried in this order: as it is; converted by the library (other input size, older names); matched in order,
    where the names differ and each tensor's kind and shape agree. A head for another number of classes keeps
    its random start. Nothing else may be missing.
    Raises ResomapError naming the first tensors that do not fit; the network is then unchanged.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith(_AUXILIARY)}
    own, head = model.state_dict(), head_tensors(model)
    first_problems: list[str] = []
    for candidate, remark in _candidates(entry, model, own, head, state):
        left_out, problems = _compare(own, head, candidate)
        if not problems:
            model.load_state_dict({k: v for k, v in candidate.items() if k not in left_out}, strict=False)
            return [
                *([f"{source}: {remark}"] if remark else []),
                *_head_note(source, own, candidate, left_out),
            ]
        first_problems = first_problems or problems
    more = f" and {len(first_problems) - 3} more" if len(first_problems) > 3 else ""
    raise ResomapError(
        f"{source} is of another network than {entry.name}: {'; '.join(first_problems[:3])}{more}; give the "
        "file that belongs to it"
    )


def head_tensors(model: nn.Module) -> set[str]:
    """Return the names of the tensors whose first dimension is the number of classes."""
    cfg: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    layers = cfg.get("classifier")
    if not layers:
        layers = [path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1:]
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    return {f"{name}.{leaf}" for name in names for leaf in ("weight", "bias")} & set(model.state_dict())


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ResomapError(f"the weights file {path} is not a readable safetensors file: {error}") from None


def _load_torch(path: Path) -> Mapping[str, Any]:
    try:
        # timm's training script stores its command line as a Namespace, which is as harmless as a dict.
        with torch.serialization.safe_globals([argparse.Namespace]):
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


def _triple(value: Any) -> Triple | None:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return None
    return float(value[0]), float(value[1]), float(value[2])


def _candidates(
    entry: ModelEntry, model: nn.Module, own: State, head: set[str], state: State
) -> Iterator[tuple[State, str]]:
    """Yield the state dict as it is, then each way of fitting it, with a remark for the log."""
    yield state, ""
    converted = _converted(entry, model, state)
    if converted is not None:
        yield converted, f"converted by {entry.library} (another input size or older names)"
    ordered = _in_order(own, head, state)
    if ordered is not None:
        yield (
            ordered,
            "its names differ from the network's; matched in order, each tensor's kind and shape checked",
        )


def _converted(entry: ModelEntry, model: nn.Module, state: State) -> State | None:
    """Return the state dict as the library's own converter makes it, or None where it has none or gives up."""
    try:
        if entry.library == "timm":
            architecture = timm.models.model_entrypoint(entry.name.partition(".")[0])
            module = sys.modules[architecture.__module__]
            function = next((getattr(module, name) for name in _TIMM_FILTERS if hasattr(module, name)), None)
            return dict(function(dict(state), model)) if function else None
        if isinstance(model, torchvision.models.VisionTransformer):
            return dict(
                torchvision.models.vision_transformer.interpolate_embeddings(
                    model.image_size,
                    model.patch_size,
                    dict(state),
                )
            )
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ):
        # A converter written for other checkpoints than this one; the next way decides, or the error names
        # the tensors as they were.
        return None
    return None


def _in_order(own: State, head: set[str], state: State) -> State | None:
    """Return the file's tensors under the network's names, or None unless kind and shape agree one by one.

    Layers that compute the same in another order of registration would not be told apart by shape alone; so
    a batch norm's weight, bias, mean and variance, all of one shape, must also agree by name.
    """
    wanted = [name for name in own if not name.endswith(_BATCH_COUNT)]
    given = [name for name in state if not name.endswith(_BATCH_COUNT)]
    if len(wanted) != len(given):
        return None
    for ours, theirs in zip(wanted, given, strict=True):
        leaves = {ours.rpartition(".")[2], theirs.rpartition(".")[2]}
        shapes_agree = own[ours].shape == state[theirs].shape or (
            ours in head and _only_classes(own, ours, state[theirs])
        )
        if not shapes_agree or (len(leaves) == 2 and leaves <= _LEAVES):
            return None
    return {ours: state[theirs] for ours, theirs in zip(wanted, given, strict=True)}


def _compare(own: State, head: set[str], state: State) -> tuple[set[str], list[str]]:
    """Return the head's tensors to leave out, and a text for each tensor that does not fit."""
    left_out, problems = set(), []
    headless = bool(head) and not any(name in state for name in head)
    for name, tensor in own.items():
        if name not in state:
            if not name.endswith(_BATCH_COUNT) and not (headless and name in head):
                problems.append(f"{name} {_shape(tensor)} is not in the file")
        elif state[name].shape != tensor.shape:
            if name in head and _only_classes(own, name, state[name]):
                left_out |= head
            else:
                problems.append(f"{name} is {_shape(state[name])} in the file and {_shape(tensor)} in the network")
    problems += [f"the file's {name} {_shape(state[name])} is not in the network" for name in state if name not in own]
    return left_out | (head if headless else set()), problems


def _only_classes(own: State, name: str, tensor: Tensor) -> bool:
    """Return True if two head tensors differ in nothing but the number of classes."""
    return tensor.dim() == own[name].dim() and tensor.shape[1:] == own[name].shape[1:]


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))


def _head_note(source: str, own: State, state: State, left_out: set[str]) -> list[str]:
    if not left_out:
        return []
    name = min(left_out)
    wanted = own[name].shape[0]
    if name not in state:
        return [f"{source}: no head for {wanted} classes in it, so the head starts at random"]
    return [f"{source}: for {state[name].shape[0]} classes where {wanted} are wanted, so the head starts at random"]
