"""A network under measurement by a kit: what is known of it so far (see `resomap.cost.on_target`)."""

from typing import Any, Optional

from resomap.cost.target_timing import STEADY, columns, quartiles, spread

LEAST_ROUNDS = 3


class Cell:
    """A network at a resolution: what the kit says of it, and what the journal's lines say was measured."""

    def __init__(self, facts: dict[str, Any]) -> None:
        """Take what kit.json says of it."""
        self.facts = facts
        self.name = "{}@{}".format(facts["model"], facts["resolution"])
        self.tried: dict[int, int] = {}
        self.rates: dict[int, float] = {}
        self.obstacle = ""
        self.best: Optional[int] = None
        self.limit = ""
        self.peaks: dict[int, Optional[int]] = {}
        self.nodes: dict[str, int] = {}
        self.times: dict[int, list[float]] = {}
        self.done: set[tuple[int, int]] = set()  # rounds and batches
        self.reasons: dict[str, str] = {}

    def take(self, line: dict[str, Any]) -> None:
        """Take in a line of the journal: one that was just written, or one of an earlier process."""
        what, batch = line["what"], line.get("batch", 0)
        if what == "try":
            self.tried[batch] = self.tried.get(batch, 0) + 1
        elif what == "probe":
            self.rates[batch] = batch / line["seconds"]
        elif what == "obstacle":
            self.obstacle = line["why"]
        elif what == "best":
            self.best, self.limit = batch, line["limit"]
        elif what == "nodes":
            self.nodes = line["nodes"]
        elif what == "memory":
            self.peaks[batch] = line["bytes"]
        elif what == "times":
            self.times.setdefault(batch, []).extend(line["seconds"])
            self.done.add((line["round"], batch))
        elif what == "reason":
            self.reasons[line["of"]] = line["why"]

    def is_steady(self, batch: int, least_runs: int) -> bool:
        """Return True if more runs would hardly change the median."""
        times = self.times.get(batch, [])
        rounds = sum(1 for _, one in self.done if one == batch)
        return rounds >= LEAST_ROUNDS and len(times) >= least_runs and spread(times) <= STEADY

    def figures(self) -> dict[str, Any]:
        """Return the figures for costs.json."""
        names = ("model", "resolution", "params", "flops", "activations", "weights_bytes", "file_bytes")
        found: dict[str, Any] = {name: self.facts[name] for name in names}
        latency, whole = self.times.get(1), self.times.get(self.best or 0)
        if latency:
            found.update(columns("latency_ms", [1000 * one for one in quartiles(latency)]))
            found.update(latency_runs=len(latency), unsteady=spread(latency) > STEADY)
        if self.best is not None:
            found.update(best_batch=self.best, best_batch_limit=self.limit)
            if whole:
                q1, median, q3 = quartiles(whole)
                rate = [self.best / q3, self.best / median, self.best / q1]
                found.update(columns("throughput_images_per_second", rate), throughput_runs=len(whole))
            found["peak_memory_bytes_best_batch"] = self.peaks.get(self.best)
        found["peak_memory_bytes_batch_1"] = self.peaks.get(1)
        if found["peak_memory_bytes_batch_1"] is not None:
            found["memory_method"] = "resident"
        return {**found, "nodes": self.nodes, "reasons": self.reasons}
