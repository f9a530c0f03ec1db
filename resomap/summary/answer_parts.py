"""Schema of the answer in results/summary.json: the choice, the ladder, all candidates, what would be surer."""

from pydantic import Field

from resomap.summary.parts import Bound, Part, Place


class Candidate(Place):
    """A cell within the budget."""

    value: float = Field(description="validation quality")
    cost: float | None = Field(description="in the recommendation's cost and unit")
    deficit: Bound
    expected_deficit: float = Field(description="to the best of the candidates, posterior mean")
    probability_within_margin: float


class Excluded(Place):
    """A cell that is no candidate, with the reason."""

    reason: str


class Choice(Place):
    """A cell, and what it may lose against the best cell within the budget, as shares."""

    cost: float | None = Field(description="in the recommendation's cost and unit")
    expected_deficit: float = Field(description="posterior mean")
    probable_deficit: float = Field(description="at most this with a probability of report.confidence")
    probability_within_margin: float = Field(description="of report.margin")
    proven_deficit: float = Field(description="at most this with 95 % confidence, all cells together; knows no prior")


class Answer(Choice):
    """The cell to use. There is one wherever a cell is trained."""

    decided: bool = Field(description="probable enough, or proven, to be within the margin; not by one seed")
    rule: str = Field(description="only cell | probable | proven | least expected deficit")
    breaking_model: str | None = Field(description="model that breaks the pattern: no cell borrows strength")


class Surer(Part):
    """So many more seeds of each cell, or validation images, would decide with a chance of about 80 %."""

    kind: str = Field(description="seeds | images")
    count: int
    low: int = Field(description="so many may do")
    high: int | None = Field(description="so many will nearly surely; null: more than was looked at")
    hours: float | None = Field(description="of training, by the trainings so far; null for images")


class Advice(Part):
    """Basis of the answer; decided on validation."""

    text: str = Field(description="the answer in sentences for a person")
    chosen: Place | None = Field(description="cheapest cell that is proven to be within the margin; null: none is")
    best: Place | None = Field(description="highest estimate, which is no proof")
    best_value: float | None = Field(description="the highest estimate, which is too high: it was chosen for it")
    best_corrected: float | None = Field(
        description="the same with its luck taken off: its posterior mean under effects of models and resolutions"
    )
    cost: str | None = Field(description="cost that orders the candidates: latency_ms | flops (10⁹) | params (10⁶)")
    device: str | None
    runtime: str | None = Field(None, description="in which latency and memory were measured")
    candidates: list[Candidate] = Field(description="from cheap to dear")
    open: list[Place] = Field(description="cells that may be within the margin but are not shown to be")
    excluded: list[Excluded]
    images: int = Field(description="validation images")
    groups: int | None = Field(description="groups that these are of; null: each image stands for itself")
    folds: int | None = Field(None, description="that judged them, each a part; null: each training judged all")
    estimand: str | None = Field(None, description="with folds, what the qualities are those of")
    includes_training_noise: bool
    least_provable: float = Field(description="the least deficit that these images could prove, of cells all alike")
    surer: list[Surer] = Field(description="what would decide; empty where that is done, or where nothing would")
