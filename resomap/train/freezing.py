"""Frozen start of a training: only the head learns, as a pure function of the epoch."""

from torch import nn

from resomap.config import Training
from resomap.models.weights_fit import head_tensors


def begin_epoch(model: nn.Module, epoch: int, recipe: Training) -> None:
    """Put the network into the mode of an epoch, counted from 0.

    In a frozen one it is in evaluation mode, so that batch normalisation keeps its statistics and no feature is
    dropped, and only the head has gradients: an optimizer leaves alone what has none.
    """
    is_frozen = recipe.trainable == "head" or epoch < recipe.freeze_epochs
    model.train(not is_frozen)
    if recipe.freeze_epochs or is_frozen:
        head = head_tensors(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not is_frozen or name in head)
