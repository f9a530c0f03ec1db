"""Inference: forward passes without gradients, of images on the device, of stored pixels, of a whole split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.config import Training
from resomap.core.errors import Diverged
from resomap.data.store import Images, Pixels
from resomap.models.build import logits


@dataclass(frozen=True)
class Inference:
    """A network's forward pass without gradients; the network is in eval mode, where its execution placed it."""

    model: nn.Module
    execution: Execution

    def __call__(self, images: Tensor) -> Any:
        """Return what the network makes of images float32 [N, C, H, W] on its device and in its memory layout."""
        with torch.inference_mode(), self.execution.autocast():
            return self.model(images)


@dataclass(frozen=True)
class Predictor:
    """Log-probabilities of the classes for stored pixels: normalisation, forward pass, log-softmax."""

    inference: Inference
    normalisation: Normalisation

    def network_output(self, pixels: Tensor) -> Any:
        """Return what the network makes of pixels uint8 [N, H, W, C]."""
        execution = self.inference.execution
        images = self.normalisation(to_unit_range(on_device(pixels, execution.device.torch)))
        return self.inference(in_layout(images, execution.channels_last))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return log-probabilities float32 [N, classes] of pixels uint8 [N, H, W, C]; finite where the logits are."""
        output = self.network_output(pixels)
        with torch.inference_mode():
            # In double precision: the logits of a network that diverges differ by more than float32 can hold.
            exact = logits(output).double().log_softmax(dim=1)
            return exact.clamp(min=torch.finfo(torch.float32).min).float()


def predict(
    predictor: Predictor, images: Images, batch_size: int, between: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return the log-probabilities float32 [N, classes] of a whole split, in its order.

    `between` runs after each batch: the place where a training looks for signals and shows that it lives.
    """
    model = predictor.inference.model
    was_training = model.training
    # Networks keep what they derive from their weights in evaluation mode (levit's attention biases), and those of timm
    # before 1.0.30 drop it only on the way into training mode. A moving average never trains, and its weights change.
    model.train()
    model.eval()
    try:
        parts = []
        for batch in in_batches(images.pixels, batch_size):
            parts.append(predictor(batch).cpu())
            between()
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy()


def require_finite(log_probabilities: np.ndarray, what: str) -> None:
    """Raise Diverged where a training's network answers to `what` with anything but finite numbers."""
    if not np.isfinite(log_probabilities).all():
        raise Diverged(
            f"diverged: the network's answers to {what} are not finite; lower training.learning_rate or set "
            "training.gradient_clip for this model in `overrides`"
        )


def in_batches(pixels: Pixels, batch_size: int) -> Iterator[Tensor]:
    """Yield stored pixels uint8 [N, H, W, C] in batches, in their order."""
    for start in range(0, len(pixels), batch_size):
        yield torch.from_numpy(np.array(pixels[start : start + batch_size]))


def images_a_pass(resolution: int, is_gpu: bool = False) -> int:
    """Return the images of a forward pass where no recipe says: as many pixels as 32 (a GPU: 128) of 224 px."""
    return max(1, (128 if is_gpu else 32) * 224**2 // resolution**2)


def evaluation_batch(recipe: Training, microbatch: int | None) -> int:
    """Return the number of images a forward pass in evaluation: without gradients twice as many fit as in training."""
    return 2 * (microbatch or recipe.batch_size)
