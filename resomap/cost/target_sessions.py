"""Sessions of ONNX Runtime with the networks of a kit: opened, run and timed (see `resomap.cost.on_target`)."""

import argparse
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from resomap.cost.target_cell import Cell
from resomap.cost.target_cores import affinities, here_on
from resomap.cost.target_machine import Stop, Unknown, free_memory, growth
from resomap.cost.target_timing import timed

CPU = "CPUExecutionProvider"
WAITING_SHARE = 0.25  # of the free memory, for networks that wait for their turn
BYTES_AN_ACTIVATION = 8


class Sessions:
    """Sessions by the options of the command line, their threads on the cores that are given."""

    def __init__(self, folder: Path, given: argparse.Namespace, channels: int, cores: list[int]) -> None:
        """Take the kit's folder; no session is open yet."""
        self.folder, self.given, self.channels, self.cores = folder, given, channels, cores
        self.held: dict[str, Any] = {}  # those that stay open, by the name of the cell
        self.room = WAITING_SHARE * (free_memory() or 4e9)

    def open(self, cell: Cell, keeps_memory: bool = True, profile: str = "") -> Any:
        """Return a new session of the runtime; `profile` begins the path of the file in which it notes its nodes."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.given.threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
        if len(self.cores) > 1:
            options.add_session_config_entry("session.intra_op_thread_affinities", affinities(self.cores))
        if profile:
            options.enable_profiling, options.profile_file_prefix = True, profile
        provider = self.given.provider
        path = str(self.folder / cell.facts["graph"])
        providers = [provider] if provider == CPU else [provider, CPU]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        if session.get_providers()[0] != provider:
            raise Stop(f"{provider} does not start here; its libraries are missing")
        return session

    def of(self, cell: Cell) -> Any:
        """Return an open session: one that waited, or a new one, which waits from now on if there is room.

        It keeps the memory of its largest batch, so none waits before its best batch is known.
        """
        found = self.held.get(cell.name) or self.open(cell)
        activations = (cell.facts["activations"] or 0) * BYTES_AN_ACTIVATION
        needed = cell.facts["file_bytes"] + activations * (cell.best or 0)
        if cell.best and cell.name not in self.held and needed <= self.room:
            self.room -= needed
            self.held[cell.name] = found
        return found

    def run_of(self, session: Any, cell: Cell, batch: int) -> Callable[[], Any]:
        """Return a forward pass of one batch of noise."""
        side = cell.facts["resolution"]
        images = np.random.default_rng(0).standard_normal((batch, self.channels, side, side), dtype=np.float32)
        return partial(session.run, None, {session.get_inputs()[0].name: images})

    def timed(self, run: Callable[[], Any], seconds: float, least: int, until_steady: bool = False) -> list[float]:
        """Return the seconds of runs, this thread on the core that is its own."""
        with here_on(self.cores[0] if self.cores else None):
            return timed(run, seconds, least, until_steady)

    def nodes(self, cell: Cell) -> dict[str, int]:
        """Return how many nodes of the network each provider computes, as the runtime itself notes it in a pass."""
        with tempfile.TemporaryDirectory() as folder:
            session = self.open(cell, keeps_memory=False, profile=str(Path(folder, "nodes")))
            self.run_of(session, cell, 1)()
            noted = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        of_nodes = [one.get("args", {}).get("provider") for one in noted if one.get("cat") == "Node"]
        return dict(Counter(one for one in of_nodes if one))

    def peak(self, cell: Cell, batch: int) -> int:
        """Return weights, input and the growth of this process in a pass that takes its memory anew, in bytes."""
        if self.given.provider != CPU:
            raise Unknown(f"{self.given.provider} does not tell its memory")
        run = self.run_of(self.open(cell, keeps_memory=False), cell, batch)
        run()
        grown = statistics.median(growth(run) for _ in range(3))
        return int(grown) + cell.facts["file_bytes"] + batch * self.channels * cell.facts["resolution"] ** 2 * 4
