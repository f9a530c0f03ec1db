"""OpenVINO's IR of an ONNX model: the network as XML, its weights in a file of the same stem, the facts inside."""

from collections.abc import Mapping
from pathlib import Path

from resomap.export.export_files import FP16

# Section of the XML's `rt_info`, where OpenVINO keeps what users add.
SECTION = "resomap"


def write_openvino(onnx_file: Path, target: Path, precision: str, facts: Mapping[str, str]) -> None:
    """Write `target` (.xml) and its .bin; in fp16 the weights are stored in 16 bits.

    An ONNX model of 8 bits stays one: OpenVINO computes its quantised operations as such.
    """
    import openvino

    model = openvino.convert_model(str(onnx_file))
    for name, text in facts.items():
        model.set_rt_info(text, [SECTION, name])
    openvino.save_model(model, str(target), compress_to_fp16=precision == FP16)
