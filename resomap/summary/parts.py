"""Base classes of the parts of results/summary.json, and those that several parts share."""

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """Base class of all parts of the document: no further keys, no NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Place(Part):
    """A square of the map: a model at a resolution, all seeds together."""

    model: str
    resolution: int = Field(description="pixels, images are square")


class Bound(Part):
    """Deficit of a cell: by how much it is worse than the best of the candidates, on validation."""

    estimate: float
    upper: float = Field(description="95 % upper bound, all bounds of the map together")
    may_be_best: bool
