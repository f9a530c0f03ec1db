"""Training of the head alone, on features of the frozen network that are computed once: a linear probe.

Each step then takes a matrix product instead of a pass through the network. The features are those that the network
hands to its head in evaluation mode, so that the best weights are those of an ordinary whole network.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor, in_batches
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.data.store import Images, Pixels
from resomap.models.build import logits
from resomap.models.weights_fit import head_tensors
from resomap.train.batches import Batch
from resomap.train.loop import TrainingData
from resomap.train.objective import Objective


@dataclass(frozen=True, kw_only=True)
class ProbeData(TrainingData):
    """Images of a training whose network is frozen but for its head, as features; each made when first asked for.

    `head`: name of the linear layer that learns; `features`: those of training and validation images [N, D].
    """

    head: str
    features: dict[str, Tensor]

    def gradient_pass(self, recipe: Training, objective: Objective, execution: Execution) -> "HeadPass":
        """Return the pass that computes the head's gradients of these images' batches."""
        return HeadPass(head=self.head, features=self.features["train"], objective=objective, classes=self.classes)

    def scores(self, inference: Inference, images: Images, batch_size: int, between: Callable[[], None]) -> np.ndarray:
        """Return log-probabilities float32 [N, classes] of the validation images, by their features."""
        with torch.inference_mode():
            scores = inference.model.get_submodule(self.head)(self.features["val"]).double().log_softmax(1)
        between()
        return scores.clamp(min=torch.finfo(torch.float32).min).float().cpu().numpy()

    @property
    def digest(self) -> str:
        """SHA-256 over all features: a resumed training must have the same."""
        found = hashlib.sha256()
        for name in sorted(self.features):
            found.update(np.ascontiguousarray(self.features[name].cpu().numpy()).tobytes())
        return f"sha256:{found.hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class HeadPass:
    """Forward and backward pass of a batch through the head alone, in float32; the interface is `GradientPass`'s."""

    head: str
    features: Tensor  # of the training images, on the device
    objective: Objective
    classes: int

    def accumulate(
        self, model: nn.Module, scaler: torch.amp.GradScaler, batch: Batch, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Add the batch's gradients to the head's; returns its mean loss and its hits, on the device."""
        device = self.features.device
        labels = batch.labels.to(device, non_blocking=True)
        output = model.get_submodule(self.head)(self.features[batch.rows.to(device)])
        weights = None if batch.weights is None else batch.weights.to(device)
        loss = self.objective(output, nn.functional.one_hot(labels, self.classes), weights)
        scaler.scale(loss).backward()
        return loss.detach(), (output.detach().argmax(1) == labels).sum()

    def least_images(self, model: nn.Module, images: Tensor) -> int:
        """A linear layer takes a single image."""
        return 1


def probe_data(data: TrainingData, model: nn.Module, features: Callable[[Images], Tensor]) -> ProbeData:
    """Return the data of a network as it stands, of which the head alone learns, on features that it has for images.

    `features` gives those of images, float32 [N, D] on the device. Raises PermanentFailure where the network's scores
    are not those of one linear layer.
    """
    model.eval()
    head = linear_head(model)
    splits = {"train": data.batches.images, "val": data.validation}  # a winner's refit validates nothing
    found = {name: features(images) for name, images in splits.items() if images is not None}
    return ProbeData(**{**vars(data), "head": head, "features": found})


def linear_head(model: nn.Module) -> str:
    """Return the name of the one linear layer from which the network's scores come. Raises PermanentFailure."""
    layers = {name.rpartition(".")[0] for name in head_tensors(model)}
    if len(layers) != 1 or not isinstance(model.get_submodule(name := layers.pop()), nn.Linear):
        raise PermanentFailure(
            "training.trainable is head, and this network's scores are not those of one linear layer; set "
            "`recipe: finetune` for it in `overrides`, or leave it out"
        )
    return name


def features_of(
    predictor: Predictor, images: Pixels, head: str, batch_size: int, between: Callable[[], None]
) -> Tensor:
    """Return what the head is given for each image of stored pixels, float32 [N, D] on the device.

    `between` runs after each batch and may end it by raising. Raises PermanentFailure where that is no vector an image.
    """
    inference = predictor.inference
    given: list[Tensor] = []
    layer = inference.model.get_submodule(head)
    hook = layer.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].detach().float().clone()))
    try:
        for pixels in in_batches(images, batch_size):
            output = logits(predictor.network_output(pixels))
            if output.shape[0] != given[-1].shape[0] or given[-1].dim() != 2:
                raise PermanentFailure(
                    "training.trainable is head, and this network's head takes more than one vector an image; set "
                    "`recipe: finetune` for it in `overrides`, or leave it out"
                )
            between()
    finally:
        hook.remove()
    return torch.cat(given)
