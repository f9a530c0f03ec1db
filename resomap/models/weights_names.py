"""Names of tensors in weights files, brought to those of a network: by what they end in, or by a known scheme.

Never by their order: two layers that compute otherwise may have the same shapes.
"""

import collections
import re
from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]


def by_suffix(own: Mapping[str, Tensor], head: set[str], state: State) -> tuple[State, str] | None:
    """Return the file's tensors without the prefix of a program around the network, with that prefix.

    The prefix is the one under which most of the network's names stand (`model.` of Lightning, `backbone.` of
    mmpretrain). What stands beside it is left out (the weights of a loss, a second network), unless it is the head
    under another prefix (`head.fc.weight`). None where no prefix has a name of the network, or two have as many.
    """
    found: dict[str, dict[str, str]] = collections.defaultdict(dict)  # prefix -> own name -> name in the file
    for name in state:
        parts = name.split(".")
        for start in range(1, len(parts)):
            if (suffix := ".".join(parts[start:])) in own:
                found[".".join(parts[:start]) + "."][suffix] = name
    ranked = sorted(found, key=lambda prefix: len(found[prefix]), reverse=True)
    if not ranked or (len(ranked) > 1 and len(found[ranked[0]]) == len(found[ranked[1]])):
        return None
    prefix = ranked[0]
    renamed = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    for name in head - renamed.keys():
        elsewhere = [other for other in state if not other.startswith(prefix) and other.endswith(f".{name}")]
        if len(elsewhere) == 1:
            renamed[name] = state[elsewhere[0]]
    return renamed, prefix


def with_plain_head(own: Mapping[str, Tensor], head: set[str], state: State) -> State:
    """Return the state with a head in a container (`fc.1.weight` behind a dropout) under the head's own names."""
    renamed = dict(state)
    for name in head - state.keys():
        layer, _, leaf = name.rpartition(".")
        inside = [other for other in state if other.startswith(f"{layer}.") and other.endswith(f".{leaf}")]
        inside = [other for other in inside if other not in own]
        if len(inside) == 1 and state[inside[0]].shape[1:] == own[name].shape[1:]:
            renamed[name] = renamed.pop(inside[0])
    return renamed


def from_efficientnet_pytorch(own: Mapping[str, Tensor], state: State) -> State | None:
    """Return the tensors of the package efficientnet_pytorch and its kin under timm's names; None for other files.

    Its blocks are counted through, timm's by stage; the first stage's blocks have no expansion.
    """
    if "_conv_stem.weight" not in state:
        return None
    blocks = sorted(
        {tuple(map(int, found.groups())) for name in own if (found := re.match(r"blocks\.(\d+)\.(\d+)\.", name))}
    )
    renamed: State = {}
    for name, tensor in state.items():
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            number, layer, leaf = int(found[1]), found[2], found[3]
            if number >= len(blocks):
                return None
            stage, block = blocks[number]
            prefix = f"blocks.{stage}.{block}"
            is_expanded = f"_blocks.{number}._expand_conv.weight" in state
            renamed[f"{prefix}.{(_EXPANDED if is_expanded else _SEPARABLE).get(layer, layer)}.{leaf}"] = tensor
        else:
            layer, _, leaf = name.rpartition(".")
            renamed[f"{_OUTSIDE.get(layer, layer)}.{leaf}"] = tensor
    return renamed


_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **_SQUEEZE,
}
