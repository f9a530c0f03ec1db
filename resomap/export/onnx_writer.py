"""Network as an ONNX model, by torch's own exporter: float32, any number of images at a time, one file.

The exporter is the one of torch.export (`dynamo=True`), which is torch's default since 2.9 and that of timm's and
ultralytics' scripts. Networks that it cannot trace go through the older one, which follows one example.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resomap.core.errors import ResomapError
from resomap.export.facts import INPUT, OUTPUT
from resomap.models.build import first_line, logits
from resomap.models.index import COLOURS

# What the last ONNX Runtime for Python 3.9 reads too, and the lowest that the exporter writes without a conversion.
OPSET = 18
# Of one file: protobuf holds no more.
LARGEST_BYTES = 2**31 - 1
TORCH_EXPORT, TORCHSCRIPT = "torch.export", "torchscript"


class LogitsOnly(nn.Module):
    """A network whose output is the logits [N, classes] and nothing beside them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images float32 [N, C, R, R]."""
        return logits(self.network(images))


@dataclass(frozen=True)
class OnnxModel:
    """A network as an `onnx.ModelProto`, and the exporter of torch that made it."""

    proto: Any
    exporter: str  # torch.export or torchscript


def onnx_model(network: nn.Module, resolution: int, channels: int = COLOURS, is_quick: bool = False) -> OnnxModel:
    """Return the network, which is in eval mode on the CPU, as an ONNX model.

    With `is_quick` the older exporter is tried first: it takes a tenth of the time for a small network, and its
    models are as fast.
    Raises ResomapError where torch cannot export it, or not into one file.
    """
    wrapped = LogitsOnly(network).eval().to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, channels, resolution, resolution)
    failures: list[str] = []
    for dynamo in (False, True) if is_quick else (True, False):
        try:
            with _quietly():
                model = _exported(wrapped, example, dynamo)
        except Exception as error:  # the exporters raise whatever a network's Python makes them
            failures.insert(0 if dynamo else len(failures), f"{type(error).__name__}: {first_line(error)}")
            continue
        if model.ByteSize() > LARGEST_BYTES:
            raise ResomapError(
                f"the network has {model.ByteSize():,} bytes, and an ONNX file holds {LARGEST_BYTES:,}; export a "
                "smaller model"
            )
        return OnnxModel(model, TORCH_EXPORT if dynamo else TORCHSCRIPT)
    raise ResomapError(
        f"torch {torch.__version__} cannot export this network ({failures[0]}; the older exporter: {failures[1]}); "
        "export another model, or use it in Python (`resomap predict`)"
    )


def add_facts(model: Any, facts: Mapping[str, str]) -> None:
    """Write facts into the model's metadata, in place of what exporters leave there."""
    import onnx

    del model.metadata_props[:]
    model.producer_name, model.producer_version = "resomap", ""
    onnx.helper.set_model_props(model, dict(facts))


def _exported(network: nn.Module, example: Tensor, dynamo: bool) -> Any:
    import onnx

    if dynamo:
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}},
            external_data=False,
            verbose=False,
        )
        assert program is not None
        return program.model_proto
    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,  # type: ignore[arg-type]
        dynamo=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
    )
    return onnx.load_from_string(stream.getvalue())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporters' advice to developers off the terminal, that of torch's C++ too; what fails is raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        logger.setLevel(logging.ERROR)
        os.dup2(nothing, 1)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
        logger.setLevel(level)
