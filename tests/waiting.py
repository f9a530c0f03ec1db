"""Wait for what another process does: long enough for a machine with a load of 15, and no longer than it lives."""

import subprocess
import time
from collections.abc import Callable
from typing import Any


def wait_for(
    condition: Callable[[], Any],
    seconds: float = 240,
    every: float = 0.01,
    process: "subprocess.Popen[Any] | None" = None,
) -> Any:
    """Return what the condition gives once it is true; `process` must not end before."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process is None or process.poll() is None, f"the process ended with {process.poll()}"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(every)
    return found
