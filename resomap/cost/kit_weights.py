"""Weights of several ONNX graphs in one file: what two of them have in common stands there once."""

import hashlib
from typing import IO, Any

import numpy as np

# Of bytes; smaller tensors (shapes, scales) stay in the graph.
LEAST = 1024
# Where a tensor begins in the file, so that a runtime may map it into memory (ONNX's IR, "External Tensor Data").
PAGE = 4096


def pages(size: int) -> int:
    """Return the bytes that a tensor takes in the file, up to where the next one begins."""
    return -(-size // PAGE) * PAGE


class SharedWeights:
    """A file of weights under the hands of its writer: graphs hand over their tensors and keep where these stand."""

    def __init__(self, stream: IO[bytes], location: str) -> None:
        """Take an empty file, and its name as the graphs beside it say it."""
        self._stream, self._location = stream, location
        self._places: dict[bytes, int] = {}  # by the digest of the content
        self._end = 0

    def take(self, model: Any) -> int:
        """Move the large tensors of an `onnx.ModelProto` into the file; return how many bytes of it the graph reads.

        Constants of nodes become initializers first, because only those may stand elsewhere.
        """
        import onnx

        graph, read = model.graph, 0
        for node in [one for one in graph.node if one.op_type == "Constant"]:
            value = next((one.t for one in node.attribute if one.name == "value"), None)
            if value is not None and onnx.numpy_helper.to_array(value).nbytes >= LEAST:
                moved = graph.initializer.add()
                moved.CopyFrom(value)
                moved.name = node.output[0]
                graph.node.remove(node)
        for tensor in graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.nbytes < LEAST or tensor.data_type == onnx.TensorProto.STRING:
                continue
            content = np.ascontiguousarray(values).tobytes()
            self._point(tensor, self._place_of(content), len(content))
            read += len(content)
        return read

    def _place_of(self, content: bytes) -> int:
        key = hashlib.sha256(content).digest()
        if key not in self._places:
            self._stream.write(b"\0" * (pages(self._end) - self._end))
            self._places[key] = pages(self._end)
            self._stream.write(content)
            self._end = self._places[key] + len(content)
        return self._places[key]

    def _point(self, tensor: Any, offset: int, length: int) -> None:
        import onnx

        for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", self._location), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
