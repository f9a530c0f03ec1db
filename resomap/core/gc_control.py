"""Control of Python's garbage collector around the imports of the large libraries, such as torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Disable garbage collection during heavy imports, and freeze what they made.

    Around the imports of torch and its kind a training's process starts and ends 1.7 s sooner (of 6.9 s). An import
    makes hundreds of thousands of objects that live to the end. The collector walks through them again and again while
    they come, in each of its full rounds later on, and once more when the process ends; frozen, they are looked at no
    more. Objects that are made afterwards are collected as ever.
    """
    modules, was_on = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:  # else garbage alone would be kept
            gc.freeze()
        if was_on:
            gc.enable()


def spare_collector(is_short: bool = False) -> None:
    """Collect rarely from here on, and never what is there already; not at all in a process that `is_short`.

    For a plan of thousands of jobs: it makes millions of objects that live to its end, and by default the collector
    walks through all of them again and again, a fifth of the time, and finds next to nothing.
    """
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    if is_short:
        gc.disable()
