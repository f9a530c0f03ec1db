"""A call with a deadline, whatever it waits for."""

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[float], T]) -> T:
    """Return `call(end)`, with `end` on the monotonic clock; raises TimeoutError at that time, else what it raises.

    The call has a thread of its own, which is left behind where it goes on: a socket's time-out starts anew with each
    byte, and a name that does not resolve or a driver that does not answer has none.
    """
    outcome: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
    end = time.monotonic() + seconds

    def work() -> None:
        try:
            outcome.put(call(end))
        except BaseException as error:  # raised again below, in the thread that asked
            outcome.put(error)

    threading.Thread(target=work, name="resomap-deadline", daemon=True).start()
    try:
        result = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, BaseException):
        raise result
    return result
