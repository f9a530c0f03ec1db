"""Process pool with the results in the order of the tasks, whatever the number of processes."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from resomap.core.errors import ResomapError

Task = TypeVar("Task")
Result = TypeVar("Result")

_SAY_EVERY = 10.0  # seconds
_CHUNK = 64  # tasks handed over at a time


def in_order(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    what: str | None,
    counts: Sequence[int] | None = None,
    ahead: int | None = None,
) -> Generator[Result]:
    """Yield the results of a function over tasks, computed in `workers` processes, in the order of the tasks.

    `what` is the verb of the progress line (`checked 300 of 42,000 images`; None: there is no line), `counts` the
    images of each task, one where it is not given. At most `ahead` results wait to be taken, where that is given: all
    of them may be more than the memory holds. One worker means this process. New processes are spawned, not forked: a
    fork copies the locks of threads it does not copy. Raises what the function raises, and ResomapError where a process
    was killed.
    """
    images = [1] * len(tasks) if counts is None else counts
    workers = max(1, min(workers, len(tasks)))
    if workers == 1:
        yield from _told(map(function, tasks), images, what)
        return
    chunk = max(1, min(_CHUNK, len(tasks) // (4 * workers)))
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker)
    try:
        if ahead is None:
            results = executor.map(function, tasks, chunksize=chunk)
        else:
            results = _taken_one_by_one(executor, function, tasks, ahead)
        yield from _told(results, images, what)
    except BrokenProcessPool:
        raise ResomapError(
            "a process that decodes images was killed, most likely for want of memory; run again with fewer: "
            "--config 'data={workers: 1}'"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _taken_one_by_one(
    executor: ProcessPoolExecutor, function: Callable[[Task], Result], tasks: Sequence[Task], ahead: int
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker() -> None:
    """End this worker on Ctrl-C without a traceback, and as soon as its parent is gone.

    After a kill -9 of the parent it would wait for tasks for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _told(results: Iterator[Result], counts: Sequence[int], what: str | None) -> Iterator[Result]:
    said, done, total = time.monotonic(), 0, sum(counts)
    for count, result in zip(counts, results, strict=True):
        done += count
        yield result
        if what is not None and time.monotonic() - said > _SAY_EVERY:
            said = time.monotonic()
            print(f"{what} {done:,} of {total:,} images", flush=True)
