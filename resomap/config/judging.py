"""Configuration sections that judge cells: what they are compared by, and what a recommended one may cost."""

from typing import Literal, TypeAlias

from pydantic import model_validator

from resomap.config.values import ClassName, DeviceName, OptionalCount, OptionalFloat, OptionalText, Section, key

FurtherMetric: TypeAlias = Literal[
    "quadratic_kappa",
    "average_precision",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "precision_at_recall",
]
"""Metrics that are worked out from predictions where they are wanted, beside those of every marker."""


class Report(Section):
    """Metric, margin and confidence that the map decides by, and what an operating point needs: a class and a share."""

    metric: Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", FurtherMetric] = key(
        "balanced_accuracy",
        "quality shown in the status table and compared in the summary; `quadratic_kappa` takes the classes as grades "
        "in the order of their names, the last four speak of `positive` against the rest",
    )
    margin: float = key(0.01, "deficit to the best cell that you would accept", ge=0, lt=1)
    confidence: float = key(
        0.95, "probability with which the cheapest cell is to be within the margin for the map to decide", ge=0.5, lt=1
    )
    positive: ClassName = key(
        None, "class that operating points and average precision speak of; null: the second of two, in order of names"
    )
    at: float = key(
        0.9, "specificity, sensitivity or recall that the threshold of an operating point is to hold", gt=0, lt=1
    )
    prevalence: OptionalFloat = key(
        None,
        "share of `positive` where the model is to be used: accuracy and predictive values are given for it; null: "
        "none are given",
        gt=0,
        lt=1,
    )
    device: DeviceName = key(
        None,
        "machine whose costs decide, `budget` included: a name that `resomap cost-import` took in, or `cpu` or `cuda` "
        "of this study's own; null: the kind that trains",
    )
    runtime: OptionalText = key(
        None, "runtime whose costs decide (`onnxruntime`, `openvino`, `torch`); null: the first that was measured"
    )
    threads: OptionalCount = key(
        None, "threads whose costs decide, of a `device` that was measured with several; null: the most", "cores"
    )

    @model_validator(mode="after")
    def _threads_are_of_a_device(self) -> "Report":
        if self.threads is not None and self.device in (None, "cpu", "cuda"):
            raise ValueError("threads is of the costs of another machine; set device too, or cost.threads for this one")
        return self


class Budget(Section):
    """Limits on the cost of a recommended cell; the figures are those of results/costs.csv, on `report.device`."""

    latency_ms: OptionalFloat = key(None, "median latency of one image; null: no limit", "milliseconds", gt=0)
    memory_mb: OptionalFloat = key(
        None, "peak memory of a forward pass of one image, weights included; null: no limit", "MB (10⁶ bytes)", gt=0
    )
    flops: OptionalFloat = key(
        None, "operations of one image, a multiply-add counted as two (2e9, not 2); null: no limit", "FLOPs", ge=1e5
    )
    params: OptionalFloat = key(None, "parameters (12e6, not 12); null: no limit", "parameters", ge=1e3)

    def given(self) -> dict[str, float]:
        """Return the limits that are set, in the units of these keys."""
        return {name: value for name, value in self.model_dump().items() if value is not None}
