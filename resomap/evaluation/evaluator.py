"""Predictions of a done cell's best weights at any resolution whose images are prepared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from resomap.cells.cell import Cell
from resomap.cells.evaluation_record import weights_paths
from resomap.cells.marker import Marker
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.compute.device import (
    Device,
    choose_device,
    is_out_of_memory,
    keep_freed_memory,
    memory_left,
    prepare_backend,
)
from resomap.compute.inference import evaluation_batch, predict
from resomap.core.errors import ResomapError
from resomap.data.store import Images, Store
from resomap.evaluation.trained_weights import Classifier, Weights


@dataclass(frozen=True)
class Evaluator:
    """Classifier on its device, with the images of the study."""

    classifier: Classifier
    device: Device
    marker: Marker
    batch: int  # images a forward pass at the training's resolution
    data: Path  # the data directory

    @classmethod
    def open(cls, study: Study, cell: Cell, marker: Marker, threads: int, data: Path) -> "Evaluator | None":
        """Build the network of the marker's own best.pt; None where that is not here.

        Raises ResomapError where it is damaged, or does not fit the installed libraries or the device.
        """
        weights = find_weights(cell, marker)
        if weights is None:
            return None
        device = choose_device(study.config.device)
        prepare_backend(device, study.config.deterministic, threads)
        if not device.is_cuda:
            keep_freed_memory()
        batch = evaluation_batch(study.recipe(cell), marker.microbatch)
        return cls(weights.classifier(device), device, marker, batch, data)

    def why_not(self, resolution: int) -> str | None:
        """Reason why the network cannot take images of this many pixels; None where it can."""
        return self.classifier.why_not(resolution)

    def predictions(self, resolution: int, between: Callable[[], None] = lambda: None) -> Predictions:
        """Predict each validation and test image with the best weights; `between` runs after each batch.

        Raises ResomapError where the images are not prepared at this resolution, or are others than the training's.
        """
        store = Store.open(self.data, resolution, EVALUATED, self.marker.fold)
        self._require_same_images(store)
        splits = {}
        for split in EVALUATED:
            images = store.split(split)
            log_probabilities = self._log_probabilities(images, self.batch_at(resolution), between)
            splits[split] = SplitPredictions(images.names, images.labels, log_probabilities, store.blocks(split))
        return Predictions(self.marker.fingerprint, self.marker.uid, store.classes, splits)

    def _require_same_images(self, store: Store) -> None:
        are_others = self.marker.is_of_other_images(store.content_digest)
        if are_others or store.classes != self.classifier.weights.classes:
            raise ResomapError(
                f"the images in {store.place} are not those of the training: files changed under their old names; "
                "give `data.source` the images as they were, or `resomap forget` it and train it anew"
            )

    def batch_at(self, resolution: int) -> int:
        """Images a forward pass at a resolution: as many pixels as in training, where this much memory was enough."""
        trained = self.classifier.weights.resolution
        return max(1, min(self.batch, self.batch * trained**2 // resolution**2))

    def _log_probabilities(self, images: Images, batch: int, between: Callable[[], None]) -> np.ndarray:
        while True:
            try:
                return predict(self.classifier.predictor, images, batch, between)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler: the error's traceback holds on to the tensors that have to go.
            if self.device.is_cuda:
                torch.cuda.empty_cache()
            if batch == 1:
                raise ResomapError(
                    f"out of memory with one image at a time ({memory_left(self.device.torch)}); free memory, or "
                    "evaluate this training on another machine"
                )
            batch //= 2


def find_weights(cell: Cell, marker: Marker | None) -> Weights | None:
    """Load the best weights of a marker's training, or whichever best.pt is there without a marker; None without.

    Raises ResomapError for a damaged file.
    """
    for path in weights_paths(cell, marker.fingerprint) if marker else [cell.checkpoints / "best.pt"]:
        weights = Weights.load(path) if path.exists() else None
        if weights and (marker is None or marker.is_of(weights.fingerprint, weights.uid)):
            return weights
    return None
