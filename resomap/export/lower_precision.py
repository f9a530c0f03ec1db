"""ONNX model in lower precision: float16 weights and operations, or 8 bits by ONNX Runtime's static quantisation."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from resomap.export.facts import INPUT

# Images by which the ranges of activations are found; more of them hardly move a range.
CALIBRATION_IMAGES = 256


def half_precision(model: Any) -> Any:
    """Return the model in float16, with input and output in float32 as before."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


def quantised(model: Any, batches: Iterator[np.ndarray]) -> Any:
    """Return the model with weights and activations of 8 bits, whose ranges are those on the batches.

    `batches`: images float32 [N, C, R, R] as the network takes them. Weights have a scale for each channel, and 7 of
    the 8 bits: on processors without VNNI the products of full ones overflow (ONNX Runtime's guide to quantisation).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch}

    with TemporaryDirectory() as place:
        source, prepared, target = (Path(place, f"{name}.onnx") for name in ("source", "prepared", "target"))
        onnx.save(model, source)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(target)
