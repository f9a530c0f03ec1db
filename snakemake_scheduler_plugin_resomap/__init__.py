"""Snakemake's scheduler plugin of ResoMap: what starts together is handed over in the order of its priorities.

Snakemake's own schedulers choose jobs by priority, and hand the chosen ones over in no order at all. On one machine
they all start at once. A cluster queues them: there the longest cell would wait behind whichever came before it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from snakemake.scheduling import greedy

__all__ = ["Scheduler"]


class Scheduler(greedy.Scheduler):
    """Snakemake's greedy scheduler, whose choice is sorted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings = greedy.SchedulerSettings()  # a plugin without options of its own is given none

    def select_jobs(
        self,
        selectable_jobs: Sequence[Any],
        remaining_jobs: Sequence[Any],
        available_resources: Mapping[str, int | str],
        input_sizes: dict[Any, int],
    ) -> Sequence[Any]:
        """Those of `selectable_jobs` that `available_resources` hold, the one with the highest priority first."""
        chosen = super().select_jobs(selectable_jobs, remaining_jobs, available_resources, input_sizes)
        return sorted(chosen, key=lambda job: job.priority, reverse=True)
