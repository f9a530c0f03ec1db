"""Configuration section of trainings that share a device: how many, and how."""

from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from resomap.config.values import Section, count_or_auto, key

MOST_TRAININGS = 16  # on one device
PerDevice = Annotated[
    int | Literal["auto"],
    PlainValidator(count_or_auto(MOST_TRAININGS), Annotated[int, Field(ge=1, le=MOST_TRAININGS)] | Literal["auto"]),
]


class GpuSharing(Section):
    """Trainings that share a GPU, or the cores of a machine that trains on its CPU; no fingerprint depends on it."""

    per_device: PerDevice = key(
        1,
        "trainings at a time on each GPU, or on the CPU of a machine without one, each with its share of the cores; "
        "`auto`: of as many as fit into its memory, at most 4, the number that the study's first run measures as "
        "fastest; on Slurm one",
    )
    mps: bool = key(
        False,
        "trainings that share a GPU compute on it at the same time, by NVIDIA's MPS (`nvidia-cuda-mps-control`), in "
        "place of in turns; their results are marked as not exact, so never with `deterministic: true`",
    )
