"""An exported file, computed by the runtime that it is for, on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from resomap.core.errors import ResomapError
from resomap.export.export_files import FP32, ONNX
from resomap.export.facts import INPUT
from resomap.models.build import first_line

# Logits float32 [N, classes] of images float32 [N, C, R, R].
Computed: TypeAlias = Callable[[np.ndarray], np.ndarray]


def open_file(path: Path, file_format: str, precision: str, threads: int) -> Computed:
    """Return what computes an exported file. Raises ResomapError where its runtime does not take it."""
    try:
        return by_onnxruntime(str(path), threads) if file_format == ONNX else by_openvino(path, precision, threads)
    except Exception as error:  # each runtime has exceptions of its own
        raise ResomapError(
            f"{'ONNX Runtime' if file_format == ONNX else 'OpenVINO'} does not take this network in {precision} "
            f"({first_line(error)}); export it with another --precision or --format"
        ) from None


def as_input(pixels: np.ndarray, mean: np.ndarray | float, std: np.ndarray | float) -> np.ndarray:
    """Return pixels uint8 [N, R, R, C] as an exported network takes them, float32 [N, C, R, R].

    `mean` and `std` are of each channel or of all, for pixels in 0..1.
    """
    centre, spread = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    normal = (pixels.astype(np.float32) / np.float32(255) - centre) / spread
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))


def by_onnxruntime(source: str | bytes, threads: int, keeps_memory: bool = True, affinities: str = "") -> Computed:
    """Return what computes an ONNX file by ONNX Runtime; arguments and errors are those of `onnx_session`."""
    return onnx_session(source, threads, keeps_memory, affinities)[0]


def onnx_session(
    source: str | bytes, threads: int, keeps_memory: bool = True, affinities: str = ""
) -> tuple[Computed, dict[str, str]]:
    """Return what computes an ONNX file, given by its path or its bytes, by ONNX Runtime; and the file's metadata.

    With `keeps_memory` it keeps what a pass needed for the next one, which is its default; without, each pass gets its
    memory anew. `affinities` are the cores of its own threads, those but the one that calls, as ONNX Runtime writes
    them: `2;3`. Raises what ONNX Runtime raises.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # its advice about nodes is for developers
    options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
    if affinities:
        options.add_session_config_entry("session.intra_op_thread_affinities", affinities)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    told = dict(session.get_modelmeta().custom_metadata_map)
    return lambda images: np.asarray(session.run(None, {INPUT: images})[0]), told


def by_openvino(path: Path, precision: str, threads: int) -> Computed:
    """Return what computes an OpenVINO or ONNX file by OpenVINO. Raises what OpenVINO raises."""
    return openvino_pass(openvino_network(path, precision, threads))


def openvino_network(path: Path, precision: str, threads: int, is_pinned: bool | None = None) -> Any:
    """Return an OpenVINO or ONNX file as OpenVINO compiles it; `is_pinned`: each thread on a core of its own.

    With None OpenVINO decides. Raises what OpenVINO raises.
    """
    import openvino

    # Of itself OpenVINO computes in bfloat16 where the processor can.
    hint = {"INFERENCE_PRECISION_HINT": "f32"} if precision == FP32 else {}
    pinning = {} if is_pinned is None else {"ENABLE_CPU_PINNING": is_pinned}
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": threads, **pinning, **hint})


def openvino_pass(compiled: Any, keeps_memory: bool = True) -> Computed:
    """Return what computes by a compiled network, with or without keeping a pass's memory for the next one."""

    def compute(images: np.ndarray) -> np.ndarray:
        logits = np.array(compiled([images])[0])
        if not keeps_memory:
            compiled.release_memory()
        return logits

    return compute
