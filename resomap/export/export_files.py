"""Formats and precisions of an export, and the paths of its files beside the cell's marker.

    results/vgg11/320.onnx              320.fp16.onnx, 320.int8.onnx         the network
    results/vgg11/320.export.json       320.fp16.export.json ...             its parity
    results/vgg11/320.openvino.xml      320.fp16.openvino.xml ...            the network for OpenVINO,
    results/vgg11/320.openvino.bin      ...                                  and its weights
    results/vgg11/320.openvino.export.json

They share the marker's stem, so that they are set aside and found again with their training.
"""

from dataclasses import dataclass
from pathlib import Path

from resomap.cells.cell import Cell

ONNX, OPENVINO = "onnx", "openvino"
FORMATS = (ONNX, OPENVINO)
FP32, FP16, INT8 = "fp32", "fp16", "int8"
PRECISIONS = (FP32, FP16, INT8)


@dataclass(frozen=True)
class ExportFiles:
    """Paths of one export. `network` is written last, `weights` (of OpenVINO alone) before it."""

    network: Path
    weights: Path | None
    parity: Path

    @classmethod
    def of(cls, cell: Cell, file_format: str, precision: str) -> "ExportFiles":
        """Return the paths of a cell's export. fp32, the default, is in no name."""
        stem = "" if precision == FP32 else f"{precision}."
        if file_format == ONNX:
            return cls(cell.beside_marker(f"{stem}onnx"), None, cell.beside_marker(f"{stem}export.json"))
        network, weights, parity = (
            cell.beside_marker(f"{stem}{OPENVINO}.{kind}") for kind in ("xml", "bin", "export.json")
        )
        return cls(network, weights, parity)

    def existing(self) -> list[Path]:
        """Return those of the files that are there."""
        return [path for path in (self.network, self.weights, self.parity) if path is not None and path.exists()]
