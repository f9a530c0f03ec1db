"""Load of a GPU while something is measured: what the driver said, asked twice a second."""

import statistics
import threading
from collections.abc import Callable
from types import TracebackType

from resomap.machine.nvidia import Figures, figures

ASK_SECONDS = 0.5
Reading = Callable[[str], Figures | None]


def _ask(identity: str) -> Figures | None:
    return figures([identity]).get(identity)


class GpuLoad:
    """Context in which a GPU is watched; without a GPU, or a driver that answers, nothing is known of it."""

    def __init__(self, identity: str | None, reading: Reading = _ask) -> None:
        self._identity, self._reading = identity, reading
        self._found: list[Figures] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu-load", daemon=True)

    def __enter__(self) -> "GpuLoad":
        if self._identity is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        assert self._identity is not None
        while not self._is_over.wait(ASK_SECONDS):
            if (found := self._reading(self._identity)) is not None:
                self._found.append(found)

    @property
    def figures(self) -> dict[str, float | None]:
        """Medians: `utilization_percent` (time in which a kernel ran), `power_watts`, `used_bytes` of memory."""
        return {
            "utilization_percent": _median([one.utilization_percent for one in self._found]),
            "power_watts": _median([one.power_watts for one in self._found]),
            "used_bytes": _median([one.memory_bytes for one in self._found]),
        }

    @property
    def words(self) -> str:
        """Utilisation and power for a person; empty where neither is known."""
        known = self.figures
        units = (("utilization_percent", "% of the time busy"), ("power_watts", " W"))
        return ", ".join(f"{known[name]:.0f}{unit}" for name, unit in units if known[name] is not None)


def _median(values: list[float | None] | list[int | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return statistics.median(known) if known else None
