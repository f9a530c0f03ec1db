"""Stand-in for CUDA graphs on a machine without a GPU, as a module and as a command.

It does the recorded work again, on the same input tensors, and leaves the results in the same output tensors: what a
graph cannot do, it cannot do either. `python graph_stand_in.py train CELL ...` is `resomap train` with it.
"""

import sys
from collections.abc import Sequence

from torch import Tensor

from resomap.train import step_graph
from resomap.train.step_graph import WARM_UP, Recording, Work


class StandIn(Recording):
    """Recording that is replayed by doing the work; counts, over all of its kind, recordings and replays."""

    recorded = replayed = 0

    def record(self, work: Work) -> Sequence[Tensor]:
        type(self).recorded += 1
        for _ in range(WARM_UP):
            work()
        self._work, self._results = work, [each.clone() for each in work()]
        for each in self._results:  # a graph that was not launched has computed nothing
            each.zero_()
        return self._results

    def replay(self) -> None:
        type(self).replayed += 1
        for mine, new in zip(self._results, self._work(), strict=True):
            mine.copy_(new)


if __name__ == "__main__":
    step_graph.recording_on = lambda _device: StandIn
    from resomap.cli import main

    sys.exit(main(sys.argv[1:]))
