"""Search for the batch size of the highest throughput: doubled until it no longer pays, or memory ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from resomap.config.schema import Cost
from resomap.cost.timing import Quartiles

PAYS = 1.05  # a doubled batch must bring this many times the images a second
PROBE_SHARE = 0.25  # of the measuring time, for each batch on the way
PROBE_RUNS = 3

Obstacle = Literal["memory", "refused"]
Limit = Literal["throughput", "time", "largest_batch"] | Obstacle


@dataclass(frozen=True)
class BestBatch:
    """Best batch size in images, and the reason why it was not doubled once more."""

    size: int
    limit: Limit


def find_best_batch(time_batch: Callable[[int], Quartiles | Obstacle], first: Quartiles, cost: Cost) -> BestBatch:
    """Double the batch from 1, whose times are `first`, as long as each doubling brings 5 % more images a second.

    `time_batch` gives the times in seconds of a batch, or what is in its way: it does not fit into memory, or a
    library refuses its size. A batch that would take longer than `cost.seconds` is not tried: the device has long
    been busy throughout.
    """
    size, times = 1, first
    while True:
        if size * 2 > cost.largest_batch:
            return BestBatch(size, "largest_batch")
        if times.median * 2 > cost.seconds:
            return BestBatch(size, "time")
        doubled = time_batch(size * 2)
        if not isinstance(doubled, Quartiles):
            return BestBatch(size, doubled)
        if doubled.rate(size * 2).median < PAYS * times.rate(size).median:
            return BestBatch(size, "throughput")
        size, times = size * 2, doubled
