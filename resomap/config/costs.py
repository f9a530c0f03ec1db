"""Configuration section of what a model costs: the runtimes and precisions in which it is measured, and how long.

Runtimes and precisions stand here because the schema, the measurement and the plan all ask for them. Light: no torch.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BeforeValidator, PlainValidator, model_validator

from resomap.config.values import Count, PositiveCount, Section, count_or_all, key, list_from_text, without_repeats

Runtime: TypeAlias = Literal["onnxruntime", "openvino", "torch"]
Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]
PRECISIONS_OF: dict[Runtime, tuple[Precision, ...]] = {
    "onnxruntime": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "torch": ("fp32", "fp16", "bf16"),
}
Runtimes = Annotated[list[Runtime], BeforeValidator(list_from_text), AfterValidator(without_repeats)]
Precisions = Annotated[list[Precision], BeforeValidator(list_from_text), AfterValidator(without_repeats)]
Threads = Annotated[int | Literal["all"], PlainValidator(count_or_all, PositiveCount | Literal["all"])]


class Way(NamedTuple):
    """A runtime with a precision; the device and the threads are those of the measurement."""

    runtime: Runtime
    precision: Precision

    @property
    def name(self) -> str:
        """Name for people and digests: `onnxruntime fp32`."""
        return f"{self.runtime} {self.precision}"


class Cost(Section):
    """Measurement of a model's cost at a resolution (`snakemake results/costs.csv`): its runtimes, and its duration."""

    runtimes: Runtimes = key(
        [],
        "runtimes that are measured on a CPU (`onnxruntime`, `openvino`, `torch`); the map decides by the first of "
        "them; empty: onnxruntime. On a GPU it is always torch",
    )
    precisions: Precisions = key(
        [],
        "number formats that are measured, in each runtime that has them (`fp32`, `fp16`, `bf16`, `int8`); the map "
        "decides by the first; empty: fp32 on a CPU, fp16 on a GPU",
    )
    threads: Threads = key("all", "cores that a measurement on a CPU computes with, or `all` of the job's", "cores")
    seconds: float = key(
        3.0,
        "longest time in which latency, and throughput at the best batch, are measured: what is steady takes a "
        "third or less; each batch tried on the way to the best one takes at most a tenth",
        "seconds",
        gt=0,
    )
    least_runs: Count = key(5, "forward passes that are timed at least, however long they take", ge=1)
    largest_batch: Count = key(1024, "batch size that is not exceeded in the search for the best one", "images", ge=1)

    @model_validator(mode="after")
    def _each_is_measured(self) -> "Cost":
        for name in self.precisions:
            if self.runtimes and not any(name in PRECISIONS_OF[one] for one in self.runtimes):
                raise ValueError(f"precisions names {name}, in which {' and '.join(self.runtimes)} cannot compute")
        for one in self.runtimes:
            if self.precisions and not set(self.precisions) & set(PRECISIONS_OF[one]):
                has = ", ".join(PRECISIONS_OF[one])
                raise ValueError(f"runtimes names {one}, which has none of these precisions; it has {has}")
        return self

    def ways(self, kind: str) -> tuple[Way, ...]:
        """Return what is measured on a kind of device, `cpu` or `cuda`; the map decides by the first."""
        if kind == "cuda":
            of_gpu = [name for name in self.precisions if name in PRECISIONS_OF["torch"]]
            return tuple(Way("torch", name) for name in of_gpu or PRECISIONS_OF["torch"][1:2])
        precisions: list[Precision] = self.precisions or ["fp32"]
        runtimes: list[Runtime] = self.runtimes or ["onnxruntime"]
        found = [Way(one, name) for one in runtimes for name in precisions if name in PRECISIONS_OF[one]]
        return tuple(found or [Way("torch", name) for name in precisions])
