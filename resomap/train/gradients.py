"""Gradients of one batch: augmented images, forward and backward passes by microbatch."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.config import Training
from resomap.models.build import logits
from resomap.train.augment import augment, flip, mix
from resomap.train.batches import Batch
from resomap.train.objective import Objective


@dataclass(frozen=True, kw_only=True)
class GradientPass:
    """Forward and backward pass of a batch by one recipe, in one precision; the network and the scaler are given.

    A training calls it at each step, and the self-check before its first step calls the very same.
    """

    recipe: Training
    classes: int
    normalisation: Normalisation
    objective: Objective
    execution: Execution

    def accumulate(
        self, model: nn.Module, scaler: torch.amp.GradScaler, batch: Batch, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Add the batch's gradients to the parameters'; returns its mean loss and its hits, on the device.

        `microbatch`: images a forward pass; None: the whole batch.
        """
        device = self.execution.device.torch
        images, targets = self._inputs(batch)
        size = microbatch or len(images)
        total = torch.zeros((), device=device)
        hits = torch.zeros((), dtype=torch.int64, device=device)
        for part, target in zip(images.split(size), targets.split(size), strict=True):
            with self.execution.autocast():
                output = logits(model(in_layout(part, self.execution.channels_last)))
            loss = self.objective(output, target) * (len(part) / len(images))
            scaler.scale(loss).backward()
            total += loss.detach()
            hits += (output.detach().argmax(1) == target.argmax(1)).sum()
        return total, hits

    def _inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Augmented, normalised images [N, 3, H, W] and target shares [N, classes] on the device."""
        device, changes = self.execution.device.torch, self.recipe.augment
        table = batch.draws.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        pixels = flip(on_device(batch.pixels, device), table, changes)
        images = augment(to_unit_range(pixels), table, changes)
        images, targets = mix(images, labels, self.classes, changes.mixup, batch.share)
        return self.normalisation(images), targets
