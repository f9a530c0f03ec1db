"""Network that answers batches of pixels: weights of trainings, or a file that `resomap export` wrote."""

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from resomap.cells.decision import OperatingPoint
from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.inference import images_a_pass
from resomap.core.errors import ResomapError
from resomap.data.bands import Bands
from resomap.evaluation.trained_weights import Classifier, Weights
from resomap.export.parity import log_softmax
from resomap.export.runtimes import as_input, onnx_session
from resomap.machine.cpus import available_cores
from resomap.models.build import first_line
from resomap.prediction.image_batches import Form

# Log-probabilities float32 [N, classes] at temperature 1, of pixels uint8 [N, R, R, channels]: one for each member.
Answering: TypeAlias = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with how images are read for it, and how its answers are."""

    form: Form
    classes: list[str]
    answering: Answering
    temperature: float
    point: OperatingPoint | None  # None: the likeliest class is all that is said
    files: list[Path]  # of the weights
    model: str
    fingerprint: str
    trained_resolution: int  # pixels
    basis: str | None  # `transferred`: temperature and threshold were chosen on other trainings than the weights'
    device: str  # cpu or cuda

    @property
    def batch(self) -> int:
        """Images a forward pass."""
        return images_a_pass(self.form.resolution, is_gpu=self.device == "cuda")

    def facts(self) -> dict[str, Any]:
        """Return what a reader of the answers may want to know of the weights."""
        return {
            "weights": str(self.files[0]),
            "ensemble": [str(one) for one in self.files] if len(self.files) > 1 else None,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "trained_resolution": self.trained_resolution,
            "resolution": self.form.resolution,
            "temperature": self.temperature,
            "operating_point": asdict(self.point) if self.point else None,
            "basis": self.basis,
        }


def trained_network(
    members: Sequence[Weights],
    device: str,
    resolution: int,
    temperature: float = 1.0,
    point: OperatingPoint | None = None,
    basis: str | None = None,
) -> Network:
    """Return the network of trained weights on `auto`, `cpu` or `cuda`, for images of `resolution` pixels.

    Several members are of one cell, and their probabilities are averaged. Raises ResomapError where the device is not
    there or the network does not take that resolution.
    """
    classifiers = [_open_classifier(one, device, resolution) for one in members]
    weights = members[0]

    def answering(pixels: np.ndarray) -> list[np.ndarray]:
        batch = torch.from_numpy(pixels)
        return [one.predictor(batch).cpu().numpy() for one in classifiers]

    return Network(
        form=Form(resolution, weights.channels, weights.fit, weights.white_level, weights.bands),
        classes=weights.classes,
        answering=answering,
        temperature=temperature,
        point=point,
        files=[one.path for one in members],
        model=weights.name,
        fingerprint=weights.fingerprint,
        trained_resolution=weights.resolution,
        basis=basis,
        device=classifiers[0].predictor.inference.execution.device.torch.type,
    )


def exported_network(path: Path) -> Network:
    """Return the network of an ONNX file, computed by ONNX Runtime on the CPU; the file says how it is used.

    Raises ResomapError: no such file, no ONNX Runtime, a file that `resomap export` did not write.
    """
    if not path.is_file():
        raise ResomapError(f"there is no file {path}; `resomap export` writes one")
    if importlib.util.find_spec("onnxruntime") is None:
        raise ResomapError(f"--onnx needs ONNX Runtime; install it with `{sys.executable} -m pip install onnxruntime`")
    try:
        compute, texts = onnx_session(str(path), available_cores())
        told = {name: json.loads(text) for name, text in texts.items()}
        point = told["operating_point"]
        mean, std = (np.array(told[name], np.float32) for name in ("mean", "std"))
        bands = Bands.from_json(told.get("bands"))
        form = Form(told["resolution"], told["channels"], told["fit"], told["white_level"], bands)
        facts = {
            "classes": told["classes"],
            "temperature": told["temperature"],
            "point": OperatingPoint(**point) if point else None,
            "model": told["model"],
            "fingerprint": told["fingerprint"],
        }
    except (KeyError, TypeError, ValueError):
        raise ResomapError(
            f"{path} does not say how its images are read; give a file that `resomap export` wrote"
        ) from None
    except Exception as error:  # ONNX Runtime has exceptions of its own
        raise ResomapError(
            f"ONNX Runtime does not take {path} ({first_line(error)}); write it anew with `resomap export`"
        ) from None

    def answering(pixels: np.ndarray) -> list[np.ndarray]:
        return [log_softmax(compute(as_input(pixels, mean, std)))]

    return Network(
        form=form,
        answering=answering,
        files=[path],
        trained_resolution=form.resolution,
        basis=None,
        device="cpu",
        **facts,
    )


def _open_classifier(weights: Weights, device: str, resolution: int) -> Classifier:
    if not 8 <= resolution <= 4096:
        raise ResomapError(f"--resolution {resolution} is no image size; give pixels between 8 and 4096")
    chosen = choose_device(device)
    prepare_backend(chosen, False, torch.get_num_threads())
    if not chosen.is_cuda:
        keep_freed_memory()
    classifier = weights.classifier(chosen)
    reason = classifier.why_not(resolution)
    if reason is not None:
        raise ResomapError(f"{reason}; leave out --resolution")
    return classifier
