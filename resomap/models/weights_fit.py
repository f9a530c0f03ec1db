"""Starting weights fitted to a network: names, input size and head of another one."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import timm
import torchvision
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.models.index import ModelEntry
from resomap.models.input_channels import with_channels
from resomap.models.layer_versions import load_tensors
from resomap.models.weights import NamedState, State
from resomap.models.weights_names import by_suffix, from_efficientnet_pytorch, with_plain_head

# torchvision's auxiliary heads, which are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# timm's functions that turn older or foreign checkpoints into today's, by the names they have in its modules.
_TIMM_FILTERS = (
    "checkpoint_filter_fn",
    "pretrained_filter_fn",
    "_filter_fn",
    "_filter_torchvision_pretrained",
)
_BATCH_COUNT = "num_batches_tracked"


def fit_weights(entry: ModelEntry, model: nn.Module, states: Sequence[NamedState], source: str) -> list[str]:
    """Load the first of the state dicts that fits into the network; return notes on what had to be done for that.

    Each is tried as it is; without a prefix in front of its names; renamed from a known scheme; converted by the
    library (other input size, older names). A head for another number of classes keeps its random start. Nothing else
    may be missing.
    Raises ResomapError naming the first tensors that do not fit, or one that is not finite; the network is then
    unchanged.
    """
    own, head = model.state_dict(), head_tensors(model)
    nearest: list[str] = []
    for found in states:
        state = {name: tensor for name, tensor in found.state.items() if not name.startswith(_AUXILIARY)}
        for named, remark in _candidates(entry, model, own, head, state):
            candidate, adapted = with_channels(own, named)
            left_out, problems = _compare(own, head, candidate)
            if not problems:
                taken = {name: tensor for name, tensor in candidate.items() if name not in left_out}
                _require_finite(taken, source)
                load_tensors(model, taken, strict=False)
                of = f"its {found.place} is taken" if len(states) > 1 else ""
                channels = f"{adapted} adapted from 3 to {own[adapted].shape[1]} channels" if adapted else ""
                return [
                    *(f"{source}: {words}" for words in (of, remark, channels) if words),
                    *_head_note(source, own, candidate, left_out),
                ]
            if not nearest or len(problems) < len(nearest):
                nearest = problems
    more = f" and {len(nearest) - 3} more" if len(nearest) > 3 else ""
    raise ResomapError(
        f"{source} is of another network than {entry.name}: {'; '.join(nearest[:3])}{more}; give the "
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


def _candidates(
    entry: ModelEntry, model: nn.Module, own: State, head: set[str], state: State
) -> Iterator[tuple[State, str]]:
    """Yield the state dict as it is, then each way of fitting it, with a remark for the log."""
    yield state, ""
    stripped = by_suffix(own, head, state)
    renamed = from_efficientnet_pytorch(own, state)
    if renamed is not None:
        yield renamed, "renamed from efficientnet_pytorch's names"
    if stripped is not None:
        yield stripped[0], f"the prefix '{stripped[1]}' of its names left out"
    plain = state if stripped is None else stripped[0]
    yield with_plain_head(own, head, plain), "its head taken out of a container"
    for each in (state, plain):
        converted = _converted(entry, model, each)
        if converted is not None:
            yield converted, f"converted by {entry.library} (another input size or older names)"


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


def _require_finite(state: State, source: str) -> None:
    """Raise ResomapError where a tensor holds NaN, or a weight infinity: a mask of attention may be infinite."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and (tensor.isnan().any() or (tensor.isinf().all() and tensor.numel() > 0)):
            raise ResomapError(
                f"{source} has no finite numbers in {name} {_shape(tensor)}: its training had diverged, or it is "
                "damaged; give another file"
            )


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
