"""Scheduler plugin for Snakemake: starts as many ready jobs as fit, the one with the highest priority first.

Snakemake's own schedulers choose jobs by priority, and hand the chosen ones over in no order at all. On one machine
they all start at once. A cluster queues them: there the longest cell would wait behind whichever came before it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from snakemake_interface_scheduler_plugins.base import SchedulerBase

__all__ = ["Scheduler"]


class Scheduler(SchedulerBase):
    """Scheduler that takes jobs in the order of their priorities while the resources last."""

    def select_jobs(
        self,
        selectable_jobs: Sequence[Any],
        remaining_jobs: Sequence[Any],
        available_resources: Mapping[str, int | str],
        input_sizes: dict[Any, int],
    ) -> Sequence[Any]:
        """Return those of `selectable_jobs` that `available_resources` hold, the one with the highest priority first.

        A job that does not fit is passed over for smaller ones behind it. Of equal priority, the order is Snakemake's.
        """
        left = {name: amount for name, amount in available_resources.items() if isinstance(amount, int | float)}
        chosen = []
        for job in sorted(selectable_jobs, key=lambda job: job.priority, reverse=True):
            wanted = {name: job.scheduler_resources.get(name, 0) for name in left}
            if all(amount <= left[name] for name, amount in wanted.items()):
                chosen.append(job)
                left = {name: amount - wanted[name] for name, amount in left.items()}
        return chosen
