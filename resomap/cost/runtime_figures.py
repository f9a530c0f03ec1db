"""Figures of one network in one runtime and precision, measured in rounds, so that several take turns."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psutil
import torch

from resomap.compute.device import Device, is_out_of_memory, memory_left
from resomap.config.schema import Cost
from resomap.core.errors import ResomapError
from resomap.cost import peak_memory
from resomap.cost.best_batch import PROBE_RUNS, PROBE_SHARE, BestBatch, Obstacle, find_best_batch
from resomap.cost.end_to_end import EndToEnd
from resomap.cost.forward_pass import Workload
from resomap.cost.target_cores import here_on
from resomap.cost.timing import Quartiles, timed_runs
from resomap.models.build import first_line

ROUNDS = 10  # shares of `cost.seconds`, between which the other networks have their turn
LEAST_ROUNDS = 3
STEADY_RUNS = 20  # of a round, after which it ends where they are steady: more would hardly move their median
FROM_BYTES = 0  # in place of a batch: the times from the bytes of an image to its class
_BY_CLOCK = torch.device("cpu")
# Working memory of an image on a CPU: all its activations in float32, and as much again for what libraries need.
BYTES_AN_ACTIVATION = 8

Answer = TypeVar("Answer")


class Attempts:
    """Work that a network or the memory may not allow, which is no error: `reasons` says what is missing and why."""

    def __init__(self, device: Device) -> None:
        """Take the device, whose memory is told where it ends."""
        self._device = device
        self.reasons: dict[str, str] = {}

    def answer(self, what: str, work: Callable[[], Answer]) -> Answer | None:
        """Return the work's answer; None, with the reason kept, where it cannot be had.

        Raises ResomapError where it is the GPU that failed, not the network.
        """
        try:
            return work()
        except Exception as error:  # networks and runtimes raise nearly anything
            is_short = is_short_of_memory(error)
            self.reasons[what] = first_line(error)
        if is_short:
            self.reasons[what] = f"out of memory ({memory_left(self._device.torch)})"
        return None


class RuntimeFigures:
    """Figures of one workload: `prepare` once, `time_round` for each round; `values` then has them."""

    def __init__(self, workload: Workload, device: Device, cost: Cost, image_bytes: float, memory_bytes: int) -> None:
        """Take the working memory of an image in bytes, and on a CPU the bytes of main memory that it may take."""
        self._ready: Workload | None = workload
        self._device, self._cost = device, cost
        self._image_bytes, self._memory_bytes = image_bytes, memory_bytes
        self._attempts = Attempts(device)
        self._values: dict[str, Any] = {"runtime": workload.runtime, "file_bytes": workload.file_bytes}
        self._times: dict[int, list[float]] = {}  # seconds of each timed run, by the batch
        self._end_to_end: EndToEnd | None = None

    @property
    def reasons(self) -> dict[str, str]:
        """Reasons why figures are missing, by what they are."""
        return self._attempts.reasons

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the weights that it holds in main memory between its rounds."""
        return self._ready.held_bytes(0) if self._ready else 0

    def time_too(self, end_to_end: EndToEnd) -> None:
        """Time the way from the bytes of an image to a class as well."""
        self._end_to_end = end_to_end
        self._values["image"] = end_to_end.image
        self._times[FROM_BYTES] = []

    def prepare(self) -> None:
        """Find the best batch, and measure the memory that it takes."""
        workload = self._ready
        assert workload is not None
        first = self._attempts.answer("latency", lambda: self._probe(workload, 1))
        if first is None:
            self._ready = None
            return
        self._times[1] = []
        self._peak(workload, 1, "peak_memory_bytes_batch_1")
        best = self._best_batch(workload, first)
        self._values |= {"best_batch": best.size, "best_batch_limit": best.limit}
        self._times[best.size] = []
        if best.size == 1:
            self._values["peak_memory_bytes_best_batch"] = self._values.get("peak_memory_bytes_batch_1")
        else:
            self._peak(workload, best.size, "peak_memory_bytes_best_batch")
        workload.park()

    def time_round(self, number: int) -> None:
        """Time the latency and the throughput once more, for a share of `cost.seconds`, in round 0 to ROUNDS - 1.

        What is steady already, over three rounds at least, is timed no more; a round ends where its runs are steady.
        """
        workload = self._ready
        if workload is None:
            return
        workload.wake()
        runs = self._cost.least_runs * (number + 1) // ROUNDS - self._cost.least_runs * number // ROUNDS
        for batch, times in list(self._times.items()):
            if number >= LEAST_ROUNDS and len(times) >= self._cost.least_runs and Quartiles.of(times).is_steady:
                continue
            what = {1: "latency", FROM_BYTES: "end to end"}.get(batch, "throughput")
            new = self._attempts.answer(what, partial(self._timed, workload, batch, runs))
            if new is None:
                del self._times[batch]  # memory that was there is taken: no figure is better than half a one
            else:
                times += new
        workload.park()

    def values(self) -> dict[str, Any]:
        """Return the figures by their columns."""
        found = dict(self._values)
        if latency := self._times.get(1):
            found |= _columns("latency_ms", Quartiles.of(latency).scaled(1000), "latency_runs")
        if whole := self._times.get(FROM_BYTES):
            found |= _columns("end_to_end_ms", Quartiles.of(whole).scaled(1000), "end_to_end_runs")
        best = found.get("best_batch")
        if best is not None and (times := self._times.get(best)):
            found |= _columns("throughput_images_per_second", Quartiles.of(times).rate(best), "throughput_runs")
        return found

    def _best_batch(self, workload: Workload, first: Quartiles) -> BestBatch:
        def probe(batch: int) -> Quartiles | Obstacle:
            if not self._fits(batch):
                return "memory"
            try:
                return self._probe(workload, batch)
            except Exception as error:
                is_short = is_short_of_memory(error)
            # Outside the handler: the error's traceback holds on to the tensors that have to go.
            if self._device.is_cuda:
                torch.cuda.empty_cache()
            return "memory" if is_short else "refused"  # some kernels count elements in 32 bits

        return find_best_batch(probe, first, self._cost)

    def _timed(self, workload: Workload, batch: int, least_runs: int) -> list[float]:
        seconds = self._cost.seconds / ROUNDS
        if self._end_to_end is not None and batch == FROM_BYTES:
            run = self._end_to_end.on(workload.resolution, workload.classifier())
            with here_on(workload.core):
                return timed_runs(run, _BY_CLOCK, seconds, least_runs, STEADY_RUNS)  # its class is back on the CPU
        run = workload.on(batch)
        with here_on(workload.core):
            return timed_runs(run, self._device.torch, seconds, least_runs, STEADY_RUNS)

    def _probe(self, workload: Workload, batch: int) -> Quartiles:
        seconds, run = self._cost.seconds * PROBE_SHARE, workload.on(batch)
        with here_on(workload.core):
            return Quartiles.of(timed_runs(run, self._device.torch, seconds, PROBE_RUNS, PROBE_RUNS))

    def _fits(self, batch: int) -> bool:
        """Return True if a batch may be tried: on a CPU one that does not fit is killed by the system, not refused."""
        if self._device.is_cuda:
            return True
        return batch * self._image_bytes <= min(self._memory_bytes, psutil.virtual_memory().available)

    def _peak(self, workload: Workload, batch: int, name: str) -> None:
        device, held = self._device.torch, workload.held_bytes(batch)

        def measured() -> int | None:
            return peak_memory.peak_memory_bytes(workload.for_memory(batch), device, held)

        peak = self._attempts.answer("memory", measured)
        if peak is not None:
            self._values |= {name: peak, "memory_method": peak_memory.method(device)}
        else:
            self.reasons.setdefault("memory", peak_memory.NO_RESIDENT_MEMORY)


def is_short_of_memory(error: Exception) -> bool:
    """Return True if memory ended. Raises ResomapError where it is the GPU that failed, not the network."""
    if is_out_of_memory(error) or "Failed to allocate memory" in str(error):  # as ONNX Runtime says it
        return True
    if "CUDA error" in str(error):
        raise ResomapError(
            f"the GPU fails: {first_line(error)}; check it with nvidia-smi and run the same command again"
        ) from error
    return False


def _columns(name: str, quartiles: Quartiles, runs: str) -> dict[str, Any]:
    return {
        f"{name}_median": quartiles.median,
        f"{name}_q1": quartiles.q1,
        f"{name}_q3": quartiles.q3,
        runs: quartiles.runs,
    }
