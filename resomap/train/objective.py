"""Loss with class weights and label smoothing, its scaler, and the optimizer, by timm's factory."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2, get_optimizer_class
from torch import Tensor, nn

from resomap.compute.execution import Execution
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.models.optimizers import needs_second_derivatives
from resomap.models.weights_fit import head_tensors


class Objective:
    """Cross-entropy against target shares, weighed by class and smoothed as the recipe says.

    With class weights an image counts as much as its true class weighs (mixed images: as the mean of their classes,
    by share), and its target stays as it is. Were each class's part of a soft target weighed instead, as torch does,
    a class of one image in twenty would outweigh the true one in every image, and be learned for all of them.
    """

    def __init__(self, recipe: Training, labels: np.ndarray, classes: int, device: torch.device) -> None:
        self._smoothing = recipe.label_smoothing
        self._has_soft_targets = recipe.label_smoothing > 0 or recipe.augment.mixup > 0 or recipe.augment.cutmix > 0
        self._weights: Tensor | None = None
        if recipe.class_weights == "balanced":
            counts = np.bincount(labels, minlength=classes)
            # n / (classes * count), as scikit-learn's class_weight="balanced" (King and Zeng 2001)
            weights = len(labels) / (classes * np.maximum(counts, 1))
            self._weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean loss of logits [N, classes] against target shares [N, classes]; a scalar in float32.

        `weights` float32 [N] are those of the images (`data.columns.weight`), whose mean over the training images is 1:
        an image of weight 2 counts as two. They multiply the weight of its class.
        """
        logits, targets = logits.float(), targets.float()
        if weights is not None:
            losses = F.cross_entropy(logits, targets, label_smoothing=self._smoothing, reduction="none")
            of_class = 1.0 if self._weights is None else targets @ self._weights
            return (losses * of_class * weights).mean()
        if self._weights is None or not self._has_soft_targets:
            # For targets of one class torch's own weighing is the same, to other bits.
            return F.cross_entropy(logits, targets, weight=self._weights, label_smoothing=self._smoothing)
        losses = F.cross_entropy(logits, targets, label_smoothing=self._smoothing, reduction="none")
        return (losses * (targets @ self._weights)).mean()


def make_optimizer(model: nn.Module, recipe: Training) -> torch.optim.Optimizer:
    """Make the recipe's optimizer by timm's factory; biases and normalisation layers have no weight decay.

    Raises PermanentFailure for a name the factory does not know, and for an optimizer that needs second derivatives.
    """
    try:
        with layers_known(model):
            made = create_optimizer_v2(
                model,
                **_fused(recipe.optimizer),
                opt=recipe.optimizer,
                lr=recipe.highest_rate,
                weight_decay=recipe.weight_decay,
                momentum=recipe.momentum,
                filter_bias_and_bn=True,
                layer_decay=recipe.layer_decay,
            )
    except (ValueError, AssertionError, KeyError, ModuleNotFoundError) as error:
        raise PermanentFailure(
            f"timm cannot make the optimizer '{recipe.optimizer}' ({error}); "
            "common ones are adamw, sgd, nadamw, lamb, rmsprop"
        ) from None
    if needs_second_derivatives(made):
        raise PermanentFailure(
            f"the optimizer '{recipe.optimizer}' needs second derivatives, and a training here computes only first "
            "ones; common ones are adamw, sgd, nadamw, lamb, rmsprop"
        )
    return made


@contextmanager
def layers_known(model: nn.Module) -> Iterator[None]:
    """Tell timm which tensors are the head of a network that is not its own, so that it can count the layers below."""
    is_told = hasattr(model, "group_matcher") or hasattr(model, "pretrained_cfg")
    if not is_told:
        model.pretrained_cfg = {"classifier": sorted({name.rpartition(".")[0] for name in head_tensors(model)})}  # type: ignore[assignment]
    try:
        yield
    finally:
        if not is_told:
            del model.pretrained_cfg


def make_scaler(execution: Execution) -> torch.amp.GradScaler:
    """Make the scaler of losses, which float16 needs and other precisions do without."""
    return torch.amp.GradScaler(execution.device.torch.type, enabled=execution.precision is torch.float16)


def _fused(name: str) -> dict[str, Any]:
    """Option that updates all weights in one kernel, for torch's own optimizers: a fifth of the time, on a CPU too."""
    kind = get_optimizer_class(name.lower().removeprefix("lookahead_"), bind_defaults=False)
    return {"fused": True} if "fused" in inspect.signature(kind).parameters else {}
