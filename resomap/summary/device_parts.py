"""Schema of the devices in results/summary.json: which cell each would have recommended, and how alike they order."""

from pydantic import Field

from resomap.summary.parts import Part, Place


class DeviceAnswer(Part):
    """A device, in one runtime, precision and number of threads, and the cell that its costs recommend."""

    device: str
    runtime: str = Field(description="for people; empty where its files name none")
    threads: int | None
    precision: str | None
    decides: bool = Field(description="its costs are those of the answer")
    cells: int = Field(description="cells with a latency")
    unsteady: int = Field(description="cells whose latency is not to be ranked by; where there are some, FLOPs decide")
    answer: Place | None = Field(description="under the same margin and budget; null: no cell is within the budget")
    latency_ms: float | None = Field(description="of that cell there")


class DevicePair(Part):
    """Rank correlations of the latencies of the same cells on two devices, by their places in the list of devices."""

    first: int
    second: int
    cells: int = Field(description="measured on both")
    spearman: float | None = Field(description="-1..1; null of fewer than three cells")
    kendall: float | None = Field(description="tau-b, -1..1")
    same_answer: bool
