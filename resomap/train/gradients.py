"""Gradients of one batch: augmented images, forward and backward passes by microbatch."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from resomap.compute.compilation import compiled, failures_in_words
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.config import Training
from resomap.core.errors import PermanentFailure
from resomap.models.build import logits
from resomap.train.augment import augment, cut_mix, flip, mix
from resomap.train.batch_parts import part_sizes, takes_single_image
from resomap.train.batches import Batch
from resomap.train.crops import crop_each
from resomap.train.objective import Objective
from resomap.train.policies import change_each


class BatchPass(Protocol):
    """Forward and backward pass of a batch, by the whole network (`GradientPass`) or its head (`probing.HeadPass`)."""

    def accumulate(
        self, model: nn.Module, scaler: torch.amp.GradScaler, batch: Batch, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Add the batch's gradients to the parameters'; returns its mean loss and its hits, on the device."""
        ...

    def least_images(self, model: nn.Module, images: Tensor) -> int:
        """Return the fewest images a forward pass that the network takes."""
        ...


@dataclass(frozen=True)
class Inputs:
    """Tensors of a batch that the network and the loss are given, on the device."""

    images: Tensor  # float32 [N, 3, H, W], augmented and normalised
    targets: Tensor  # float32 [N, classes]: share of each class
    weights: Tensor | None  # float32 [N], of each image in the loss; None: all the same

    @property
    def shapes(self) -> tuple[torch.Size | None, ...]:
        """Shapes of the three."""
        return self.images.shape, self.targets.shape, None if self.weights is None else self.weights.shape

    def copy(self) -> "Inputs":
        """Return the same values in memory of their own."""
        return Inputs(self.images.clone(), self.targets.clone(), None if self.weights is None else self.weights.clone())

    def take(self, other: "Inputs") -> None:
        """Take over the values of others of the same shapes."""
        self.images.copy_(other.images)
        self.targets.copy_(other.targets)
        if self.weights is not None and other.weights is not None:
            self.weights.copy_(other.weights)


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
    # Answers of `least_images`, by the network's mode: frozen batch normalisation takes any number of images.
    _least: dict[bool, int] = field(default_factory=dict, init=False)
    _compiled: dict[nn.Module, Callable[..., Any]] = field(default_factory=dict, init=False)

    def accumulate(
        self, model: nn.Module, scaler: torch.amp.GradScaler, batch: Batch, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Add the batch's gradients to the parameters'; returns its mean loss and its hits, on the device.

        `microbatch`: images a forward pass; None: the whole batch.
        Raises PermanentFailure where that is one image, and batch normalisation cannot train on it.
        """
        return self.learn(model, scaler, self.inputs(batch), microbatch)

    def learn(
        self, model: nn.Module, scaler: torch.amp.GradScaler, inputs: Inputs, microbatch: int | None
    ) -> tuple[Tensor, Tensor]:
        """Do what `accumulate` does with the inputs that were made of a batch."""
        device = self.execution.device.torch
        images, targets, weights = inputs.images, inputs.targets, inputs.weights
        sizes = self._part_sizes(model, images, microbatch)
        total = torch.zeros((), device=device)
        hits = torch.zeros((), dtype=torch.int64, device=device)
        parts_of_weights = [None] * len(sizes) if weights is None else list(weights.split(sizes))
        network = self._network(model)
        with failures_in_words() if self.recipe.compile else contextlib.nullcontext():
            for part, target, weight in zip(images.split(sizes), targets.split(sizes), parts_of_weights, strict=True):
                with self.execution.autocast():
                    output = logits(network(in_layout(part, self.execution.channels_last)))
                loss = self.objective(output, target, weight) * (len(part) / len(images))
                scaler.scale(loss).backward()
                total += loss.detach()
                hits += (output.detach().argmax(1) == target.argmax(1)).sum()
        return total, hits

    def _network(self, model: nn.Module) -> Callable[..., Any]:
        """Return the network's call, compiled where the recipe says so."""
        if not self.recipe.compile:
            return model
        if model not in self._compiled:
            self._compiled[model] = compiled(model)
        return self._compiled[model]

    def _weights(self, batch: Batch) -> Tensor | None:
        """Weight of each image in the loss, float32 [N] on the device: mixed as the images are; None: all the same."""
        if batch.weights is None:
            return None
        weights = batch.weights.to(self.execution.device.torch)
        share = batch.share if self.recipe.augment.mixup > 0 else 1.0
        if batch.cut is not None:
            share = batch.cut.share(batch.size, batch.size)
        return share * weights + (1 - share) * weights.flip(0)

    def least_images(self, model: nn.Module, images: Tensor) -> int:
        """Return the fewest images a forward pass that the network takes in its present mode: 1, or 2 for some.

        images: [N, 3, H, W] on the device, of which the first is tried, once.
        """
        if model.training not in self._least:
            image = in_layout(images[:1], self.execution.channels_last)
            with self.execution.autocast():
                self._least[model.training] = 1 if takes_single_image(model, image) else 2
        return self._least[model.training]

    def _part_sizes(self, model: nn.Module, images: Tensor, microbatch: int | None) -> list[int]:
        count = len(images)
        size = min(microbatch or count, count)
        # A network with batch normalisation is tried only where a pass of one image would come.
        least = self.least_images(model, images) if 1 in (size, count % size) else 1
        if size < least:
            raise PermanentFailure(
                f"batch normalisation cannot train with one image a forward pass at {images.shape[-1]} px, where its "
                "last maps are a single pixel; set training.microbatch to 2 or more (or null), give at least two "
                "training images, or use a higher resolution"
            )
        return part_sizes(count, microbatch, least)

    def inputs(self, batch: Batch) -> Inputs:
        """Return the batch's augmented, normalised images with their targets and weights."""
        device, changes = self.execution.device.torch, self.recipe.augment
        table = batch.draws.to(device, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        pixels = on_device(batch.pixels, device)
        if changes.scale < 1:
            pixels = crop_each(pixels, batch.draws, changes.scale, batch.size)
        pixels = change_each(flip(pixels, table, changes), batch.seeds, changes)
        images = augment(to_unit_range(pixels), table, changes)
        if batch.cut is not None:
            images, targets = cut_mix(images, labels, self.classes, batch.cut)
        else:
            images, targets = mix(images, labels, self.classes, changes.mixup, batch.share)
        return Inputs(self.normalisation(images), targets, self._weights(batch))
