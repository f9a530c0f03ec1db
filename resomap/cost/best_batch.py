"""Search for the batch size of the highest throughput: the best of all powers of two up to a bound."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from resomap.config.schema import Cost
from resomap.cost.timing import Quartiles

PAYS = 1.05  # a larger batch must bring more than this many times the images a second
PROBE_SHARE = 0.1  # of the measuring time, for each batch on the way
PROBE_RUNS = 3

Obstacle = Literal["memory", "refused"]
Limit = Literal["time", "largest_batch"] | Obstacle


@dataclass(frozen=True)
class BestBatch:
    """Best batch size in images, and the reason why no larger one was tried."""

    size: int
    limit: Limit


def find_best_batch(time_batch: Callable[[int], Quartiles | Obstacle], first: Quartiles, cost: Cost) -> BestBatch:
    """Try batches of 1, whose times are `first`, 2, 4, ... up to a bound, and choose among all of them.

    The best is the smallest whose images a second are within 5 % of the most. `time_batch` gives the times in seconds
    of a batch, or what is in its way: it does not fit into memory, or a library refuses its size. A batch that would
    take longer than a tenth of `cost.seconds` is not tried: the device has long been busy throughout.
    """
    size, times = 1, first
    rates = {}
    while True:
        rates[size] = times.rate(size).median
        limit: Limit | None = None
        if size * 2 > cost.largest_batch:
            limit = "largest_batch"
        elif times.median * 2 > cost.seconds * PROBE_SHARE:
            limit = "time"
        else:
            size *= 2
            timed = time_batch(size)
            if isinstance(timed, Quartiles):
                times = timed
            else:
                limit = timed
        if limit is not None:
            most = max(rates.values())
            return BestBatch(min(one for one, rate in rates.items() if rate * PAYS >= most), limit)
