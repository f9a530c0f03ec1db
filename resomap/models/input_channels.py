"""Input channels of a network: the first convolution of torchvision's, and pretrained weights for another number.

timm builds its networks for any number of channels itself, and its rule adapts pretrained weights: of one channel the
sum over the three colours, of more the colours repeated, scaled so that the sum over the channels stays what it was.
"""

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from resomap.models.index import COLOURS
from resomap.models.weights import State


def take_channels(model: nn.Module, channels: int) -> None:
    """Give a network of torchvision another first convolution, of random weights, for so many channels.

    They are spread as the library's own, as much narrower as there are more of them. Raises ValueError where no
    convolution takes three channels.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv2d) or module.in_channels != COLOURS:
            continue
        weight = module.weight
        shape = (weight.shape[0], channels, *weight.shape[2:])
        spread = weight.detach().std() * (COLOURS / channels) ** 0.5
        module.weight = nn.Parameter(torch.randn(shape, device=weight.device) * spread)
        module.in_channels = channels
        return
    raise ValueError("its first layer is no convolution of three channels")


def with_channels(own: State, state: State) -> tuple[State, str | None]:
    """Return a state dict with the first convolution adapted to the network's `own` shapes, and that one's name.

    It is the tensor that differs in nothing but its three input channels; without one the state dict stays as it is.
    """
    for name, tensor in state.items():
        wanted = own.get(name)
        if wanted is not None and _is_adaptable(wanted, tensor):
            return {**state, name: adapt_input_conv(wanted.shape[1], tensor)}, name
    return state, None


def _is_adaptable(wanted: Tensor, tensor: Tensor) -> bool:
    is_other = wanted.dim() == tensor.dim() == 4 and wanted.shape[1] != tensor.shape[1] == COLOURS
    return is_other and (wanted.shape[0], *wanted.shape[2:]) == (tensor.shape[0], *tensor.shape[2:])
