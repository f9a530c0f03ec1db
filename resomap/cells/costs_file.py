"""costs.json as a cost kit writes it on another machine: read as what a stranger may have written, bounded in all.

docs/cost.md has the meaning of each figure. Light: pydantic alone.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from resomap.config.values import DEVICE, RESOLUTIONS
from resomap.core.errors import ResomapError
from resomap.core.files import open_regular

FORMAT, SCHEMA = "resomap costs", 1
MAX_BYTES = 8 * 2**20  # a thousand networks take 1 MB
MAX_CELLS = 10_000
KINDS_HERE = ("cpu", "cuda")  # folders of what is measured in this study itself
CPU = "CPUExecutionProvider"


def device_name(text: str) -> str:
    """Return the name of a device; raise ValueError for one that is no name of a folder, or that of another thing."""
    if not DEVICE.fullmatch(text) or not text.strip("."):
        raise ValueError("must have 1 to 64 letters, digits, dots, dashes and underscores, and not dots alone")
    if text.lower() in KINDS_HERE:
        raise ValueError(f"is {text}, which means this machine; name the other one")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has characters that cannot be printed")
    return text


_Text = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
_Count = Annotated[int, Field(ge=1, le=2**53)]
_Bytes = Annotated[int, Field(ge=0, le=2**53)]
_Figure = Annotated[float, Field(gt=0, le=1e12)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MeasuredThere(_Strict):
    """Figures of one network at one resolution; null where `reasons` says why."""

    model: _Name
    resolution: Annotated[int, Field(ge=RESOLUTIONS[0], le=RESOLUTIONS[-1])]
    params: _Count | None = None
    flops: _Count | None = None
    activations: _Count | None = None
    weights_bytes: _Bytes | None = None
    file_bytes: _Bytes | None = None
    latency_ms_median: _Figure | None = None
    latency_ms_q1: _Figure | None = None
    latency_ms_q3: _Figure | None = None
    latency_runs: _Count | None = None
    unsteady: bool = False
    best_batch: _Count | None = None
    best_batch_limit: Literal["memory", "refused", "time", "largest_batch"] | None = None
    throughput_images_per_second_median: _Figure | None = None
    throughput_images_per_second_q1: _Figure | None = None
    throughput_images_per_second_q3: _Figure | None = None
    throughput_runs: _Count | None = None
    peak_memory_bytes_batch_1: _Bytes | None = None
    peak_memory_bytes_best_batch: _Bytes | None = None
    memory_method: Literal["resident"] | None = None
    nodes: Annotated[dict[_Name, _Count], Field(max_length=20)] = {}  # of the graph, by the provider that computes them
    reasons: Annotated[dict[_Text, _Text], Field(max_length=20)] = {}

    @model_validator(mode="after")
    def _quartiles_are_in_order(self) -> "MeasuredThere":
        for name in ("latency_ms", "throughput_images_per_second"):
            found = [getattr(self, f"{name}_{one}") for one in ("q1", "median", "q3")]
            known = [one for one in found if one is not None]
            if len(known) not in (0, 3) or known != sorted(known):
                raise ValueError(f"has quartiles of {name} that are none")
        return self


class CostsFile(_Strict):
    """Content of costs.json: the machine, the runtime, and the figures of each network."""

    format: Literal["resomap costs"]
    schema_version: Annotated[Literal[1], Field(alias="schema")]
    kit: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    device: Annotated[str, AfterValidator(device_name)]
    cpu: _Text
    system: _Text
    python: _Text
    runtime: Literal["onnxruntime"]
    runtime_version: _Text
    provider: _Name
    threads: Annotated[int, Field(ge=1, le=65536)]
    pinned_cores: Annotated[str, Field(pattern=r"^[0-9]{1,5}(,[0-9]{1,5})*$", max_length=6 * 65536)] | None = None
    other_programs_cores: Annotated[float, Field(ge=0, le=65536)] | None = None
    precision: Literal["float32"]
    classes: _Count
    channels: Annotated[int, Field(ge=1, le=16)]
    seconds: _Figure
    least_runs: _Count
    largest_batch: _Count
    measured_at: _Figure
    cells: Annotated[list[MeasuredThere], Field(min_length=1, max_length=MAX_CELLS)]

    @model_validator(mode="after")
    def _no_network_stands_twice(self) -> "CostsFile":
        if len({(one.model, one.resolution) for one in self.cells}) < len(self.cells):
            raise ValueError("has a network twice")
        return self

    @property
    def runtime_name(self) -> str:
        """Runtime by which figures are kept apart: with its provider where that is not the processor."""
        return self.runtime if self.provider == CPU else f"{self.runtime} {self.provider}"


def read_costs_file(path: Path) -> CostsFile:
    """Return what a file of costs holds. Raises ResomapError with one sentence for whatever is none."""
    try:
        with open_regular(path) as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ResomapError(f"there is no file {path}; name the costs.json that a cost kit wrote") from None
    except OSError as error:
        raise ResomapError(f"{path} cannot be read: {error.strerror or error}; name a costs.json") from None
    except ValueError:
        raise ResomapError(f"{str(path)[:60]!a} is no name of a file; name a costs.json") from None
    if len(content) > MAX_BYTES:
        raise ResomapError(f"{path} has more than {MAX_BYTES:,} bytes, and no costs.json has; name the right file")
    return parse_costs(content, str(path))


def parse_costs(content: bytes, name: str) -> CostsFile:
    """Return what the bytes of a file of costs hold. Raises ResomapError with one sentence, which `name` begins."""
    try:
        found: Any = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ResomapError(f"{name} is no JSON; copy the costs.json of the kit once more") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ResomapError(f"{name} is not what a cost kit writes; name its costs.json")
    if found.get("schema") != SCHEMA:
        raise ResomapError(f"{name} has another form than this ResoMap reads; measure with the kit that it writes")
    try:
        return CostsFile.model_validate(found)
    except ValidationError as error:
        raise ResomapError(f"{name} is no sound file of costs: {_first(error)}; measure again") from None


def _first(error: ValidationError) -> str:
    """Return the place and the words of the first mistake, without what the file holds there."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(one) for one in first["loc"])
    words = "".join(one if one.isprintable() else "?" for one in f"{place} {first['msg']}".strip())
    return words.replace("Value error, ", "")[:200]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
