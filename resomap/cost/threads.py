"""Threads that a measurement computes with, and the cores that they are held on."""

from dataclasses import dataclass

from resomap.cost.target_cores import affinities, cores_for, cores_in_words


@dataclass(frozen=True)
class Threads:
    """A number of threads and a core for each; no cores where the system places them, as on a GPU's machine."""

    count: int
    cores: tuple[int, ...] = ()

    @classmethod
    def on(cls, kind: str, count: int) -> "Threads":
        """Return the threads of a measurement on a kind of device, `cpu` or `cuda`."""
        return cls(count, tuple(cores_for(count)) if kind == "cpu" else ())

    @property
    def first(self) -> int | None:
        """Core of the thread that calls the runtime."""
        return self.cores[0] if self.cores else None

    @property
    def of_onnxruntime(self) -> str:
        """Cores of ONNX Runtime's own threads, as it takes them; empty where it has none, or the system places them."""
        return affinities(self.cores)

    @property
    def words(self) -> str | None:
        """Cores for people: `0,1`."""
        return cores_in_words(self.cores)
