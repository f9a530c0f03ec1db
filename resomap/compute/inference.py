"""Inference: run a model over a split and return the class probabilities of each image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.config import Training
from resomap.data.ondemand import OnDemand
from resomap.data.store import Images
from resomap.models.build import logits


@dataclass(frozen=True)
class Predictor:
    """A model with its input side: stored pixels in, class probabilities (softmax) out."""

    model: nn.Module
    normalisation: Normalisation
    device: torch.device
    precision: torch.dtype | None
    channels_last: bool

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return probabilities float32 [N, classes] of pixels uint8 [N, H, W, C]; the model must be in eval mode."""
        images = in_layout(self.normalisation(to_unit_range(on_device(pixels, self.device))), self.channels_last)
        with torch.inference_mode(), autocast(self.device, self.precision):
            return logits(self.model(images)).float().softmax(dim=1)


def autocast(device: torch.device, precision: torch.dtype | None) -> torch.autocast:
    """Return the context of mixed precision for one forward pass; off where precision is None."""
    return torch.autocast(device.type, dtype=precision or torch.bfloat16, enabled=precision is not None)


def predict(
    predictor: Predictor, images: Images, batch_size: int, between: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return the probabilities float32 [N, classes] of a whole split, in its order.

    `between` runs after each batch: the place where a training looks for signals and shows that it lives.
    """
    was_training = predictor.model.training
    predictor.model.eval()
    try:
        parts = []
        for batch in _in_batches(images.pixels, batch_size):
            parts.append(predictor(batch).cpu())
            between()
    finally:
        predictor.model.train(was_training)
    return torch.cat(parts).numpy()


def _in_batches(pixels: np.ndarray | OnDemand, batch_size: int) -> Iterator[Tensor]:
    for start in range(0, len(pixels), batch_size):
        yield torch.from_numpy(np.array(pixels[start : start + batch_size]))


def evaluation_batch(recipe: Training, microbatch: int | None) -> int:
    """Return the number of images a forward pass in evaluation: without gradients twice as many fit as in training."""
    return 2 * (microbatch or recipe.batch_size)
