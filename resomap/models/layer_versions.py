"""Loading of plain tensors into a network whose layers ask for the version that wrote them."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], strict: bool = True) -> None:
    """Load tensors by name, as `load_state_dict` does, as written by the layers of this network.

    A state dict carries the version of each layer beside its tensors, which a copy or a file of plain tensors has lost;
    torchvision's mnasnet refuses to load without it. Raises RuntimeError where names or shapes differ.
    """
    state: Any = OrderedDict(tensors)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=strict)
