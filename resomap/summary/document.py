"""Schema of results/summary.json: every figure with its unit. workflow/schemas/summary.schema.json comes from it.

Qualities, margins and deficits are shares (0..1), losses nats, times seconds unless a name says milliseconds, memory
bytes unless a name says MB (10⁶ bytes). What is undefined or not known is null.
"""

from typing import Any

from pydantic import Field

from resomap.summary.answer_parts import Advice, Answer, Choice
from resomap.summary.device_parts import DeviceAnswer, DevicePair
from resomap.summary.parts import Bound, Part, Place


class Estimate(Part):
    """An estimated quality: mean over the seeds, with its 95 % interval."""

    value: float
    low: float | None = Field(
        description="lower end of the 95 % interval; null without predictions, and over several seeds for metrics that "
        "report.metric cannot be"
    )
    high: float | None
    deviation: float | None = Field(description="sample standard deviation over the seeds; null with one seed")
    seeds: int = Field(description="number of trainings that it is the mean of")
    includes_training_noise: bool = Field(
        description="false: the interval speaks of these trained models and other images, not of training again"
    )
    images: int | None = Field(None, description="images that the interval rests on; null without an interval")
    groups: int | None = Field(
        None, description="groups that these images are of and that were counted in their place; null: none"
    )


class Measured(Part):
    """Measured cost of a model at a resolution, with untrained weights (docs/cost.md)."""

    device_kind: str
    device: str
    runtime: str | None = Field(
        None,
        description="onnxruntime | openvino | torch cuda graph | torch eager: where an export failed, or in a study of "
        "an earlier version",
    )
    threads: int
    precision: str
    params: int | None
    flops: int | None = Field(description="floating-point operations for one image, a multiply-add counted as two")
    activations: int | None
    weights_bytes: int | None
    latency_ms_median: float | None = Field(description="milliseconds for one image")
    latency_ms_q1: float | None
    latency_ms_q3: float | None
    end_to_end_ms_median: float | None = Field(
        None, description="milliseconds from the bytes of one JPEG to its class; null in files of earlier versions"
    )
    best_batch: int | None = Field(description="images")
    throughput_images_per_second_median: float | None
    peak_memory_bytes_batch_1: int | None
    is_comparable: bool = Field(
        description="false: device, runtime, threads or precision are not those of most cells, so latency and memory "
        "of this one stand in no front and decide nothing"
    )


class Square(Place):
    """One square of the map. `validation` and `test` by metric; choices are made on validation alone."""

    seeds: list[int] = Field(description="seeds whose training is finished")
    upsampled: float | None = Field(description="share of the images that are enlarged to this resolution")
    validation: dict[str, Estimate | None]
    test: dict[str, Estimate | None]
    best_test_resolution: int | None = Field(
        description="pixels at which the trained cell is best on validation: its own, unless another is shown to be "
        "better (95 %, all rows of the map together); null where it was not evaluated"
    )
    deficit: Bound | None
    cost: Measured | None
    calibration: "Calibrated | None" = Field(
        None, description="of the images that all folds judge together; null without folds"
    )


class CalibrationError(Part):
    """Calibration error of a training, as a share: how far its confidence is from its share of right answers."""

    error: float = Field(description="without the bias that noise gives an error over bins")
    low: float = Field(description="95 % interval; 0 where the model may well be calibrated")
    high: float
    binned: float = Field(description="over 15 bins of confidence (Guo et al. 2017), biased upwards")
    binned_if_calibrated: float = Field(description="what 95 % of calibrated models would show over 15 bins at most")


class Calibrated(Part):
    """Calibration of a training on one split, without and with temperature scaling."""

    temperature: float = Field(description="fitted on the validation images; above 1 answers become less sure")
    as_trained: CalibrationError | None
    tempered: CalibrationError | None = Field(description="on validation with the temperature of other images")


class Training(Place):
    """One finished training, with the content of its marker."""

    seed: int
    fold: int | None = Field(None, description="that it judges; null: the study has no folds")
    origin: str = Field(description="local | tracker")
    exact: bool = Field(description="false: not to the bit what an uninterrupted training would be")
    exact_reasons: list[str]
    fingerprint: str
    uid: str
    run_id: str | None
    finished_at: float | None = Field(description="seconds since 1970")
    epochs: int | None
    best_epoch: int | None = Field(description="chosen on validation, counted from 1")
    metrics: dict[str, float | None] = Field(description="by val/<metric> and test/<metric>")
    intervals: dict[str, tuple[float, float] | None] = Field(
        description="95 % intervals by val/<metric> and test/<metric>; for other images, without training noise"
    )
    calibration: dict[str, Calibrated | None] = Field(description="by val and test; null in older evaluations")
    within_margin: bool = Field(description="validation quality is within the margin of the best training's")
    train_seconds: float | None
    images_per_second: float | None
    peak_training_memory_bytes: int | None
    device: str | None


class Pair(Part):
    """Comparison of two resolutions of a model on the same validation images; `difference` is first minus second."""

    first: int
    second: int
    difference: float
    low: float = Field(description="95 % interval, all pairs of the map together")
    high: float
    p: float = Field(description="p value, adjusted for all pairs of the map")


class Claim(Part):
    """A claim that the statistics support: this model is better trained at `better` px than at `worse` px."""

    better: int
    worse: int


class ModelResolutions(Part):
    """Comparison of one model's resolutions, on validation."""

    model: str
    best: int = Field(description="pixels, the highest estimate")
    alike: list[int] = Field(description="the best, and those that cannot be told from it")
    claims: list[Claim] = Field(description="empty with one seed: training noise is unknown")
    comparisons: list[Pair]
    includes_training_noise: bool


class Front(Part):
    """Pareto front of the estimated validation quality against a cost, from cheap to dear, on one device."""

    cost: str = Field(description="latency_ms | memory_mb | flops (10⁹) | params (10⁶)")
    unit: str
    device: str
    runtime: str | None = Field(None, description="in which latency and memory were measured")
    places: list[Place]
    possible: list[Place] = Field(
        description="cells that may be on the true front: nothing as cheap is shown to be better (95 %)"
    )


class Tested(Part):
    """Quality of a model trained at one resolution and tested at another: report.metric, mean over the seeds."""

    model: str
    trained_at: int = Field(description="pixels")
    tested_at: int = Field(description="pixels")
    seeds: int
    validation: float | None
    test: float | None


class ValidationGap(Part):
    """Mean of validation minus test over all cells, of report.metric; shown, never used in a choice."""

    value: float
    low: float = Field(description="95 % interval, for these trainings and other images")
    high: float
    cells: int


class Range(Part):
    """A share of test images with its 95 % interval."""

    value: float | None = Field(description="null: 0 / 0")
    low: float
    high: float


class OperatingPoint(Place):
    """Decisions of one training for the positive class, judged on test; the threshold is chosen on validation.

    Without an operating point the decisions are those of the likeliest class.
    """

    seed: int
    fold: int | None = Field(None, description="that it judges; null: the study has no folds")
    uid: str
    metric: str | None = Field(description="null: no operating point is asked for")
    positive: str = Field(description="name of the class")
    at: float | None = Field(description="share that the threshold is to hold")
    holds: str | None = Field(description="specificity | sensitivity | recall")
    threshold: float | None = Field(description="positive where log p - log(1 - p), at temperature 1, is above it")
    validation: float | None = Field(description="the metric on validation, each image at a threshold of other images")
    test: Range | None = Field(description="the metric; the choice of the threshold is in its interval")
    held: Range | None = Field(description="share that this threshold holds on test images")
    sensitivity: Range = Field(description="of this threshold")
    specificity: Range = Field(description="of this threshold")
    prevalence: float | None = Field(description="share of the positive class that the next three are for")
    accuracy: Range | None
    ppv: Range | None = Field(description="positive predictive value: of those called positive, the share that is")
    npv: Range | None = Field(description="negative predictive value")


class Images(Part):
    """The images of the study."""

    source: str
    identity: str
    content_digest: str | None
    classes: list[str] | None
    counts: dict[str, dict[str, int]] | None = Field(description="images by split and class")
    native_size: dict[str, int] | None = Field(description="short side in pixels: median, min, max")


class Gap(Place):
    """A part that is missing from the map."""

    seed: int | None
    fold: int | None = None
    what: str = Field(description="training | predictions | evaluation | cost")
    reason: str


class Map(Part):
    """`results/summary.json`: the map as data."""

    schema_version: int = Field(alias="schema", description="version of this schema: 3")
    basis: str = Field(description="12 hex digits over the settings of the map; with others it is made anew")
    is_complete: bool = Field(description="false: running the workflow again would bring more")
    experiment: str
    base: str = Field(description="fingerprint that all cells share")
    metric: str
    margin: float
    confidence: float
    budget: dict[str, float]
    models: list[str]
    resolutions: list[int]
    seeds: list[int]
    folds: int | None = Field(None, description="number of folds; null: one validation split")
    images: Images
    validation_gap: ValidationGap | None = Field(
        description="by how much choosing the epoch on the validation images flatters their values"
    )
    answer: Answer | None = Field(description="null where no cell is within the budget, or none has predictions yet")
    ladder: list[Choice] = Field(description="each cell that is the cheapest for some margin, from cheap to dear")
    recommendation: Advice | None = Field(description="null where no cell has predictions yet")
    chance: float | None = Field(
        None, description="what the metric is of an answer that looks at no image, where known"
    )
    notes: list[str] = Field(description="what a reader must know, in sentences")
    squares: list[Square]
    trainings: list[Training]
    model_resolutions: list[ModelResolutions]
    fronts: list[Front]
    operating_points: list[OperatingPoint] = Field(
        description="of each training; empty where neither an operating point nor a prevalence is asked for"
    )
    matrix: list[Tested]
    missing: list[Gap]
    devices: list[DeviceAnswer] = Field(
        default=[], description="on which cells were measured, the deciding one first; empty where there is one alone"
    )
    device_pairs: list[DevicePair] = Field(default=[], description="each two of the devices")

    def content(self) -> dict[str, Any]:
        """Return the document as a dict for strict JSON."""
        return self.model_dump(mode="json", by_alias=True)

    def recommends(self, model: str, resolution: int) -> bool:
        """Return True for the cell that is the answer."""
        return self.answer is not None and (self.answer.model, self.answer.resolution) == (model, resolution)

    def square(self, place: Place) -> Square:
        """Return the square of this model and resolution, which the map must have."""
        return next(one for one in self.squares if (one.model, one.resolution) == (place.model, place.resolution))
