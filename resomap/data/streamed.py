"""Images streamed from where they lie through a function, in several processes; each shard is read once."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from resomap.data.location import InParquet, Load, Location, loads
from resomap.data.pool import in_order

Task = TypeVar("Task")
Result = TypeVar("Result")


def streamed(
    function: Callable[[Task, Load], Result],
    tasks: Sequence[tuple[Location, Task]],
    workers: int,
    what: str,
) -> list[Result]:
    """Return the results of `function(task, load)` in the order of the tasks; `load()` gives the image's bytes.

    Images of one row group of Parquet are handed to one process, which reads the group once. `what` is the verb of
    the progress line. Raises what the function raises.
    """
    runs = _runs([location for location, _ in tasks])
    jobs = [[tasks[index] for index in run] for run in runs]
    results: list[Any] = [None] * len(tasks)
    counts = [len(run) for run in runs]
    for run, found in zip(runs, in_order(partial(_over, function), jobs, workers, what, counts), strict=True):
        for index, result in zip(run, found, strict=True):
            results[index] = result
    return results


def _runs(locations: Sequence[Location]) -> list[list[int]]:
    """Return the indices that one process reads together: rows of one row group; anything else is alone."""
    runs: list[list[int]] = []
    of_group: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for index, location in enumerate(locations):
        if isinstance(location, InParquet):
            of_group[str(location.file), location.row_group].append((location.row, index))
        else:
            runs.append([index])
    return runs + [[index for _, index in sorted(rows)] for _, rows in sorted(of_group.items())]


def _over(function: Callable[[Task, Load], Result], job: Sequence[tuple[Location, Task]]) -> list[Result]:
    found = []
    for load, (_, task) in zip(loads([location for location, _ in job]), job, strict=True):
        found.append(function(task, load))
    return found
