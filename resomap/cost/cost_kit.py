"""Cost kit: a folder to copy to any machine, with the networks of a study and the script that measures them there.

`kit.json` says what is in it and is written last. Each model has a graph for each of its resolutions, and one file of
weights for all of them. The weights are random, as in every measurement of costs.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.files import file_digest, replace_atomically, write_json, write_text
from resomap.cost.forward_pass import ready_network
from resomap.cost.kit_weights import LEAST, SharedWeights, pages
from resomap.cost.measure import SEED
from resomap.export.onnx_writer import onnx_model
from resomap.models.build import build_model, construct
from resomap.models.operations import parameter_count, try_count, weights_bytes
from resomap.models.survey import entry_of

FORMAT, SCHEMA = "resomap cost kit", 1
SCRIPT, CONTENTS, WEIGHTS = "measure.py", "kit.json", "weights.bin"
# What the last ONNX Runtime for Python 3.9 (1.19) reads.
NEWEST_OPSET, NEWEST_IR = 21, 10
_GRAPH_BYTES = 200_000  # of a graph without its weights: about, for the size that is said first
_IMPORT = re.compile(r"^from resomap\.cost\.(target_\w+) import .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Kit:
    """A kit that was written: its size in bytes, its networks, and why others are not in it, by their names."""

    size: int
    networks: int
    left_out: dict[str, str]


def planned_bytes(study: Study, classes: int) -> int:
    """Return about how many bytes the kit of a study takes; each network is built without its values."""
    config, total = study.config, 0
    for model in config.models:
        seen: set[tuple[str, tuple[int, ...]]] = set()
        for resolution in config.resolutions:
            try:
                with torch.device("meta"):
                    network = construct(entry_of(model), resolution, classes, None, config.data.input_channels)
            except Exception:  # it is left out, or it is one of a few that cannot be built without values
                continue
            for name, tensor in network.state_dict().items():
                size = tensor.numel() * tensor.element_size()
                if (name, tuple(tensor.shape)) not in seen and size >= LEAST:
                    total += pages(size)
                    seen.add((name, tuple(tensor.shape)))
            total += _GRAPH_BYTES
    return total


def require_room(folder: Path, needed: int) -> None:
    """Raise ResomapError where the folder may not become a kit, or its disk has no room for so many bytes."""
    if folder.exists() and not folder.is_dir():
        raise ResomapError(f"{folder} is no folder; name one that is empty, or that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / SCRIPT).exists():
        raise ResomapError(f"{folder} has other files in it; name a folder that is empty, or that does not exist yet")
    existing = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise ResomapError(
            f"the kit takes about {needed / 1e6:,.0f} MB, and the disk of {folder.absolute()} has {free / 1e6:,.0f} MB "
            "free; name a folder on another disk, or fewer models in the configuration"
        )


def write_kit(study: Study, classes: int, folder: Path, say: Callable[[str], None]) -> Kit:
    """Write the kit of a study into a folder; `say` tells of each model. Raises ResomapError where it would be empty.

    What an earlier call left there is replaced. Until all is there the folder has no kit.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONTENTS).unlink(missing_ok=True)
    for one in folder.iterdir():
        if (one / WEIGHTS).exists():
            shutil.rmtree(one)
    write_text(folder / SCRIPT, one_file())
    cells: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    files = [SCRIPT]
    for model in study.config.models:
        written = list(_write_model(study, classes, folder, model, left_out))
        cells += written
        if written:
            files += [f"{model}/{WEIGHTS}", *(one["graph"] for one in written)]
            size = sum((folder / one).stat().st_size for one in (f"{model}/{WEIGHTS}", *_graphs(written)))
            say(f"{model}: {len(written)} of {len(study.config.resolutions)} resolutions, {size / 1e6:.1f} MB")
    if not cells:
        raise ResomapError(f"none of the networks can be exported ({next(iter(left_out.values()))}); name other models")
    digests = {name: file_digest(folder / name) for name in files}
    config = study.config
    sizes = {name: (folder / name).stat().st_size for name in files}
    content = {
        "format": FORMAT,
        "schema": SCHEMA,
        "id": hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:12],
        "classes": classes,
        "channels": config.data.input_channels,
        "seconds": config.cost.seconds,
        "least_runs": config.cost.least_runs,
        "largest_batch": config.cost.largest_batch,
        "files": sizes,
        "cells": cells,
    }
    write_json(folder / CONTENTS, content)
    return Kit(sum(sizes.values()), len(cells), left_out)


def one_file() -> str:
    """Return the script that measures: its module, with those that it imports from here in their places, each once."""
    sources, taken = resources.files("resomap.cost"), set()

    def inside(found: re.Match[str]) -> str:
        if found[1] in taken:
            return ""
        taken.add(found[1])
        text = (sources / f"{found[1]}.py").read_text(encoding="utf-8")
        return _IMPORT.sub(inside, text.split('"""', 2)[2].lstrip()) + "\n\n"

    return _IMPORT.sub(inside, (sources / "on_target.py").read_text(encoding="utf-8"))


def _write(content: bytes, stream: IO[bytes]) -> None:
    stream.write(content)


def _graphs(cells: list[dict[str, Any]]) -> list[str]:
    return [one["graph"] for one in cells]


def _write_model(
    study: Study, classes: int, folder: Path, model: str, left_out: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """Write the weights and the graphs of a model; yield what kit.json says of each resolution that can be exported."""
    place, found = folder / model, []

    def write_weights(stream: Any) -> None:
        weights = SharedWeights(stream, WEIGHTS)
        state: dict[str, Any] = {}
        # The largest first: it has the statistics of batch normalisation for all.
        for resolution in sorted(study.config.resolutions, reverse=True):
            try:
                network = _network(study, classes, model, resolution, state)
                exported = onnx_model(network, resolution, study.config.data.input_channels, is_quick=True).proto
                _require_readable(exported)
            except ResomapError as error:
                left_out[f"{model}@{resolution}"] = str(error)
                continue
            state = state or network.state_dict()
            read, path = weights.take(exported), place / f"{resolution}.onnx"
            content: bytes = exported.SerializeToString()
            replace_atomically(path, partial(_write, content))
            operations = try_count(network, resolution, study.config.data.input_channels)
            counts = (None, None) if isinstance(operations, str) else (operations.flops, operations.activations)
            found.append(
                {
                    "model": model,
                    "resolution": resolution,
                    "graph": f"{model}/{resolution}.onnx",
                    "file_bytes": read + path.stat().st_size,
                    "params": parameter_count(network),
                    "flops": counts[0],
                    "activations": counts[1],
                    "weights_bytes": weights_bytes(network),
                }
            )

    replace_atomically(place / WEIGHTS, write_weights)
    if not found:
        shutil.rmtree(place)
    yield from reversed(found)


def _network(study: Study, classes: int, model: str, resolution: int, state: dict[str, Any]) -> nn.Module:
    """Return the network at a resolution, with those values of another resolution's that fit it."""
    channels = study.config.data.input_channels
    torch.manual_seed(SEED)
    network = build_model(model, resolution, classes, channels=channels).model
    if not state:
        return ready_network(network, resolution, channels)
    own = network.state_dict()
    fitting = {name: one for name, one in state.items() if name in own and own[name].shape == one.shape}
    network.load_state_dict(own | fitting)
    return network.eval()


def _require_readable(model: Any) -> None:
    opset = max((one.version for one in model.opset_import if not one.domain), default=0)
    if opset > NEWEST_OPSET or model.ir_version > NEWEST_IR:
        raise ResomapError(
            f"torch exports it in opset {opset} (IR {model.ir_version}), which ONNX Runtime 1.19 does not read; use an "
            "older torch"
        )
