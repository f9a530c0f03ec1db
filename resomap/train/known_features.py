"""Features of a frozen network for the images of one resolution, by the images' names: read, or else computed.

They are computed in the order of the store, in batches of one size, whatever fold a training judges, so that all
trainings of a square have the same bits, shared or not.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from resomap.cells.cell import Cell
from resomap.compute.environment import environment
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor
from resomap.compute.normalisation import Normalisation
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Images, Store
from resomap.train.feature_files import FeatureFiles
from resomap.train.loop import TrainingData
from resomap.train.probing import ProbeData, features_of, linear_head, probe_data


@dataclass(frozen=True)
class KnownFeatures:
    """Features float32 [N, D] on the device, and the row of each image's name in them."""

    values: Tensor
    rows: Mapping[str, int]
    are_read: bool  # from their files; False: computed here

    def of(self, images: Images) -> Tensor:
        """Return the features of images, in their order."""
        return self.values[torch.tensor([self.rows[name] for name in images.names], device=self.values.device)]


@dataclass(frozen=True, kw_only=True)
class FeaturePass:
    """Pass of a frozen network over all images of a resolution that trainings learn from or are judged by.

    `batch`: images a forward pass. `between` runs after each, and may end the pass by raising.
    """

    cell: Cell
    model: nn.Module
    execution: Execution
    normalisation: Normalisation
    batch: int
    between: Callable[[], None]

    def known(self) -> KnownFeatures:
        """Return all features: from their files where these fit, else computed."""
        splits = self.splits
        read = self.files.read(splits)
        found = read or {split: self.compute(images.pixels) for split, images in splits.items()}
        names = [name for images in splits.values() for name in images.names]
        values = torch.cat([found[split] for split in splits]).to(self.execution.device.torch)
        return KnownFeatures(values, {name: row for row, name in enumerate(names)}, are_read=read is not None)

    @property
    def splits(self) -> dict[str, Images]:
        """Images of the store, with folds of all of them, without those of the test split."""
        store = self._store
        return {split: store.split(split) for split in store.splits if split != "test"}

    @property
    def files(self) -> FeatureFiles:
        """Files of these features."""
        return FeatureFiles(self.cell, self._key())

    def compute(self, pixels: Any) -> Tensor:
        """Return what the head is given for stored pixels, float32 [N, D] on the device."""
        predictor = Predictor(Inference(self.model.eval(), self.execution), self.normalisation)
        return features_of(predictor, pixels, linear_head(self.model), self.batch, self.between)

    @cached_property
    def _store(self) -> Store:
        return Store.open(DATA_DIRECTORY, self.cell.resolution, splits=("train", "val"))

    def _key(self) -> dict[str, Any]:
        """Return all that decides the bits of the features, but for the number of the batch that an image is in."""
        device, head = self.execution.device, linear_head(self.model)
        return {
            "model": self.cell.model,
            "resolution": self.cell.resolution,
            "content_digest": self._store.content_digest,
            "weights": _digest(self.model, head),
            "head": head,
            "mean": list(self.normalisation.mean),
            "std": list(self.normalisation.std),
            "channels": self.normalisation.channels,
            **self.execution.saved(),
            "channels_last": self.execution.channels_last,
            "batch": self.batch,
            "threads": torch.get_num_threads(),
            **environment(device),
        }


def probe_of(
    cell: Cell,
    data: TrainingData,
    model: nn.Module,
    execution: Execution,
    batch: int,
    between: Callable[[], None],
    say: Callable[[str], None],
) -> ProbeData:
    """Return the data of a cell's network as it stands, of which the head alone learns, on features known by name.

    Arguments as for `FeaturePass`. Raises PermanentFailure where the scores are not those of one linear layer.
    """
    known = FeaturePass(
        cell=cell, model=model, execution=execution, normalisation=data.normalisation, batch=batch, between=between
    ).known()
    say(f"features of {len(known.rows)} images: {'read, as others have' if known.are_read else 'computed'}")
    return probe_data(data, model, known.of)


def _digest(model: nn.Module, head: str) -> str:
    """Return the SHA-256 of all tensors of a network but those of its head."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(f"{head}."):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
