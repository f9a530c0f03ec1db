"""Class-activation maps by Grad-CAM (Selvaraju et al. 2017): where in an image a network saw a class.

The channels of the last layer with places are added up, each by the mean gradient of the class's logit in it; what
speaks against the class is left out.
"""

import importlib.util
import sys
from dataclasses import dataclass

import numpy as np
import torch

from resomap.compute.normalisation import on_device, to_unit_range
from resomap.core.errors import ResomapError
from resomap.evaluation.trained_weights import Classifier
from resomap.explanation.spatial_layer import SpatialLayer
from resomap.models.build import logits

_AT_ONCE = 8  # images, whose activations have to be kept


@dataclass(frozen=True)
class Maps:
    """Maps float32 [N, h, w], 0 and more, of one class of each image, and all probabilities [N, classes]."""

    maps: np.ndarray
    probabilities: np.ndarray


def require_captum() -> None:
    """Raise ResomapError with the command that installs it where captum is not there."""
    if importlib.util.find_spec("captum") is None:
        raise ResomapError(f"maps are computed by captum; install it with `{sys.executable} -m pip install captum`")


def activation_maps(
    classifier: Classifier, layer: SpatialLayer, pixels: np.ndarray, classes: np.ndarray, temperature: float
) -> Maps:
    """Return the maps of a class each (int [N]) of pixels uint8 [N, R, R, channels], in float32."""
    from captum.attr import LayerGradCam

    inference = classifier.predictor.inference
    network, device = inference.model.float(), inference.execution.device.torch
    found, shares = [], []
    with layer.as_map(network) as places:
        grad_cam = LayerGradCam(lambda images: logits(network(images)), places)
        for start in range(0, len(pixels), _AT_ONCE):
            batch = torch.from_numpy(pixels[start : start + _AT_ONCE].copy())
            images = classifier.predictor.normalisation(to_unit_range(on_device(batch, device))).contiguous()
            target = torch.from_numpy(classes[start : start + _AT_ONCE]).to(device)
            maps = grad_cam.attribute(images, target=target, relu_attributions=True)
            found.append(maps.detach()[:, 0].cpu().numpy())
            with torch.inference_mode():
                shares.append((logits(network(images)).double() / temperature).softmax(dim=1).float().cpu().numpy())
    return Maps(np.concatenate(found), np.concatenate(shares))
