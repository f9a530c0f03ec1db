"""Classifier from best.pt alone: the network by its name and library, its weights, its preprocessing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resomap.compute.checkpoint import FORMAT, DamagedCheckpoint, load_sealed, structure_difference
from resomap.compute.device import Device, is_out_of_memory
from resomap.compute.execution import Execution
from resomap.compute.inference import Inference, Predictor
from resomap.compute.normalisation import Normalisation
from resomap.core.errors import ResomapError
from resomap.data.bands import Bands
from resomap.data.pixels import WhiteLevel
from resomap.models.build import construct, first_line
from resomap.models.index import COLOURS
from resomap.models.layer_versions import load_tensors
from resomap.models.survey import entry_of


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Content of best.pt or final.pt, which `resomap.train.outcome.write_weights` writes."""

    path: Path
    name: str  # of the model, in its library
    library: str  # torchvision or timm
    resolution: int  # pixels, of the training
    classes: list[str]
    channels: int  # of the training's images: 1 where all were grey, else 3, or as many as `data.channels` said
    normalisation: Normalisation
    fit: str  # how an image becomes a square: see `data.fit`
    white_level: WhiteLevel = "each"  # of grey images whose files do not tell it: see resomap/data/pixels.py
    bands: Bands | None = None  # how images are read where the study named its channels
    amp: str  # mixed precision of the training: see `training.amp`
    channels_last: bool
    epoch: int  # counted from 1
    fingerprint: str
    uid: str
    state: Mapping[str, Tensor]

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Verify and read the file. Raises ResomapError: none there, damaged, or no weights of ResoMap."""
        try:
            content: dict[str, Any] = load_sealed(path)
        except FileNotFoundError:
            raise ResomapError(f"there is no weights file {path}; name a best.pt of a finished training") from None
        except (DamagedCheckpoint, OSError) as error:
            raise ResomapError(
                f"{error}; take an undamaged copy, or `resomap forget` its training and run it anew"
            ) from None
        try:
            if content["format"] != FORMAT:
                raise KeyError("format")
            bands = Bands.from_json(content.pop("bands", None))
            inputs = bands.channels if bands else COLOURS
            return cls(
                path=path,
                normalisation=Normalisation(tuple(content["mean"]), tuple(content["std"]), inputs),
                state=content["model"],
                bands=bands,
                **{name: content[name] for name in cls.__annotations__ if name in content},
            )
        except (KeyError, TypeError):
            raise ResomapError(
                f"{path} does not hold the weights of a finished training of this version of ResoMap; name a best.pt"
            ) from None

    def classifier(self, device: Device) -> "Classifier":
        """Build the network on the device, ready to classify.

        Raises ResomapError where the libraries that are installed now build another network under that name.
        """
        entry = entry_of(self.name)
        if entry.library != self.library:
            raise self._unusable(f"the installed versions have the name from {entry.library}")
        try:
            model = construct(entry, self.resolution, len(self.classes), channels=self.normalisation.channels)
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise self._unusable(first_line(error)) from error
        difference = structure_difference(self.state, model.state_dict())
        if difference is not None:
            raise self._unusable(difference)
        load_tensors(model, self.state)
        execution = Execution.of(device, self.amp, self.channels_last)
        inference = Inference(execution.place(model).eval(), execution)
        return Classifier(self, Predictor(inference, self.normalisation))

    def _unusable(self, why: str) -> ResomapError:
        return ResomapError(
            f"{self.path} does not fit the {self.name} of {self.library} as it is installed here: {why}; install the "
            "versions that the training's marker names under `environment`"
        )


@dataclass(frozen=True)
class Classifier:
    """Network with its trained weights; `predictor` takes pixels uint8 [N, R, R, channels] of many a resolution."""

    weights: Weights
    predictor: Predictor

    def why_not(self, resolution: int) -> str | None:
        """Reason of the library against images of this many pixels, in a sentence; None where one goes through.

        Raises what the network raises at its own resolution too: then the resolution is not the reason.
        """
        trained = self.weights.resolution
        try:
            self._try(resolution)
        except Exception as error:  # libraries raise nearly anything here, and the next line tells it from a broken one
            if resolution == trained or is_out_of_memory(error):
                raise
            reason = first_line(error)
        else:
            return None
        self._try(trained)
        return f"{self.weights.name}, built for {trained} px, does not take {resolution} px: {reason}"

    def _try(self, resolution: int) -> None:
        shape = (1, resolution, resolution, self.weights.channels)
        self.predictor(torch.from_numpy(np.zeros(shape, dtype=np.uint8)))
