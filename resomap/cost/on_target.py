"""Measure what the networks of this folder cost on this machine: latency, throughput and memory, into costs.json.

python measure.py --device my-board

It needs Python 3.9 or newer, onnxruntime and numpy. Killed at any moment, the same command goes on where it was.
"""

import argparse
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional

import numpy as np
import onnxruntime

from resomap.cost.target_machine import Journal, Stop, circumstances, free_memory, growth, replace, require_same
from resomap.cost.target_timing import STEADY, columns, quartiles, spread, thinned, timed

FOLDER = Path(__file__).resolve().parent
FORMAT, SCHEMA = "resomap costs", 1
CPU = "CPUExecutionProvider"
DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")

ROUNDS, LEAST_ROUNDS = 10, 3  # shares of the time of a network, between which the others have their turn
PROBE_SHARE, PROBE_RUNS = 0.25, 3  # of a batch on the way to the best one
PAYS = 1.05  # a larger batch must bring more than this many times the images a second
WAITING_SHARE = 0.25  # of the free memory, for networks that wait for their turn
BYTES_AN_ACTIVATION = 8
ATTEMPTS = 3  # at a batch in which the process ended: memory ran out


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
        return {**found, "reasons": self.reasons}


class Bench:
    """Sessions of the runtime, and the measuring of cells with them."""

    def __init__(self, kit: dict[str, Any], given: argparse.Namespace, journal: Journal) -> None:
        """Go on where the journal ends."""
        self.given, self.journal, self.channels = given, journal, kit["channels"]
        self.cells = [Cell(facts) for facts in kit["cells"]]
        self.held: dict[str, Any] = {}  # sessions that stay open, by the name of the cell
        self.room = WAITING_SHARE * (free_memory() or 4e9)
        by_name = {cell.name: cell for cell in self.cells}
        for line in journal.lines:
            by_name[line["cell"]].take(line)

    def note(self, cell: Cell, what: str, **line: Any) -> None:
        """Write a line into the journal, and have the cell take it in."""
        line = {"cell": cell.name, "what": what, **line}
        self.journal.write(line)
        cell.take(line)

    def attempt(self, cell: Cell, of: str, work: Callable[[], Any]) -> Any:
        """Return what the work gives; None, with the reason noted, where the network or the memory do not allow it."""
        try:
            return work()
        except Exception as error:  # the runtime raises nearly anything
            text = " ".join(str(error).split())[:200] or type(error).__name__
            self.note(cell, "reason", of=of, why="".join(one for one in text if one.isprintable()))
            return None

    def open(self, cell: Cell, keeps_memory: bool = True) -> Any:
        """Return a new session of the runtime."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.given.threads, 1
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = options.enable_mem_pattern = keeps_memory
        provider = self.given.provider
        path = str(FOLDER / cell.facts["graph"])
        providers = [provider] if provider == CPU else [provider, CPU]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        if session.get_providers()[0] != provider:
            raise Stop(f"{provider} does not start here; its libraries are missing")
        return session

    def session(self, cell: Cell) -> Any:
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

    def prepare(self, cell: Cell) -> None:
        """Find the best batch, and the memory that it takes."""
        if cell.best is not None or "model" in cell.reasons:
            return
        session = self.attempt(cell, "model", lambda: self.session(cell))
        if session is None:
            return
        batch = 1
        while True:
            limit = self.probe(session, cell, batch)
            if 1 not in cell.rates:
                why = "its first pass ended the process, as where memory runs out" if limit == "memory" else limit
                self.note(cell, "reason", of="model", why=why)
                return
            if limit:
                break
            batch *= 2
        most = max(cell.rates.values())
        best = min(size for size, rate in cell.rates.items() if rate * PAYS >= most)
        for size in sorted({1, best} - set(cell.peaks)):
            self.note(cell, "memory", batch=size, bytes=self.attempt(cell, "memory", partial(self.peak, cell, size)))
        self.note(cell, "best", batch=best, limit=limit)

    def probe(self, session: Any, cell: Cell, batch: int) -> str:
        """Time a batch, unless it was; return why no larger one is to be tried, or nothing."""
        if batch not in cell.rates:
            free, needed = free_memory(), batch * BYTES_AN_ACTIVATION * (cell.facts["activations"] or 0)
            if cell.obstacle or cell.tried.get(batch, 0) >= ATTEMPTS or (batch > 1 and free and needed > free):
                return cell.obstacle or "memory"
            self.note(cell, "try", batch=batch)
            try:
                run = self.run_of(session, cell, batch)
                times = timed(run, self.given.seconds * PROBE_SHARE, PROBE_RUNS, until_steady=True)
            except Exception as error:
                is_short = isinstance(error, MemoryError) or "alloc" in str(error).lower()
                self.note(cell, "obstacle", why="memory" if is_short else "refused")
                return cell.obstacle
            self.note(cell, "probe", batch=batch, seconds=statistics.median(times))
        if batch * 2 > self.given.largest_batch:
            return "largest_batch"
        return "time" if cell.rates and batch / cell.rates[batch] * 2 > self.given.seconds * PROBE_SHARE else ""

    def peak(self, cell: Cell, batch: int) -> int:
        """Return weights, input and the growth of this process in a pass that takes its memory anew, in bytes."""
        if self.given.provider != CPU:
            raise Stop(f"{self.given.provider} does not tell its memory")
        run = self.run_of(self.open(cell, keeps_memory=False), cell, batch)
        run()
        grown = statistics.median(growth(run) for _ in range(3))
        return int(grown) + cell.facts["file_bytes"] + batch * self.channels * cell.facts["resolution"] ** 2 * 4

    def turn(self, cell: Cell, number: int) -> bool:
        """Time latency and throughput once more; return True if something was not steady yet."""
        session, least = None, self.given.least_runs
        for batch in sorted({1, cell.best}) if cell.best else []:
            if (number, batch) in cell.done or cell.is_steady(batch, least) or "timing" in cell.reasons:
                continue
            runs = least * (number + 1) // ROUNDS - least * number // ROUNDS
            session = session or self.attempt(cell, "timing", lambda: self.session(cell))
            if session is not None:
                run = self.run_of(session, cell, batch)
                work = partial(timed, run, self.given.seconds / ROUNDS, runs)
                times = self.attempt(cell, "timing", work)
                if times is not None:
                    self.note(cell, "times", round=number, batch=batch, seconds=thinned(times))
        return session is not None


def load_kit() -> dict[str, Any]:
    """Return what is to be measured; stop where the folder was not copied whole."""
    try:
        kit: dict[str, Any] = json.loads((FOLDER / "kit.json").read_text(encoding="utf-8"))
        for name, size in kit["files"].items():
            if (FOLDER / name).stat().st_size != size:
                raise Stop(f"{name} was not copied whole; copy the folder again")
    except (OSError, ValueError, KeyError) as error:
        raise Stop(f"this folder is no complete kit ({error}); copy it again") from None
    return kit


def arguments(words: Optional[Sequence[str]], kit: dict[str, Any]) -> argparse.Namespace:
    """Return the options; stop where one makes no sense here."""
    own = re.sub(r"[^A-Za-z0-9._-]+", "-", platform.node())[:64] or "device"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description="Measure the networks of this folder on this machine.")
    parser.add_argument("--device", default=own, help="name of this machine: letters, digits, . _ - (%(default)s)")
    parser.add_argument("--threads", type=int, default=cores, help="cores to compute with (%(default)s)")
    parser.add_argument("--provider", default=CPU, help="of onnxruntime (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("costs.json"), help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=kit["seconds"], help="longest time of a figure (%(default)s)")
    parser.add_argument("--largest-batch", type=int, default=kit["largest_batch"], help="in images (%(default)s)")
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    given = parser.parse_args(words)
    given.least_runs = kit["least_runs"]
    if not DEVICE.fullmatch(given.device) or not given.device.strip("."):
        raise Stop("--device takes 1 to 64 letters, digits, dots, dashes and underscores")
    if given.threads < 1 or not 0 < given.seconds < 1e6 or given.largest_batch < 1:
        raise Stop("--threads, --seconds and --largest-batch must be more than 0")
    if given.provider not in onnxruntime.get_available_providers():
        raise Stop("this onnxruntime has {}".format(", ".join(onnxruntime.get_available_providers())))
    return given


def head_of(given: argparse.Namespace, kit: dict[str, Any]) -> dict[str, Any]:
    """Return what the figures depend on: a journal of other values is not gone on with."""
    options = ("device", "provider", "threads", "seconds", "least_runs", "largest_batch")
    return {
        **circumstances(),
        "format": FORMAT,
        "schema": SCHEMA,
        "kit": kit["id"],
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "precision": "float32",
        **{name: kit[name] for name in ("classes", "channels")},
        **{name: getattr(given, name) for name in options},
    }


def measure(given: argparse.Namespace, kit: dict[str, Any]) -> None:
    """Measure all networks of the kit in turns, and write the file of their costs."""
    head = head_of(given, kit)
    part = given.output.with_name(given.output.name + ".part")
    if given.anew and part.exists():
        part.unlink()
    elif given.output.exists() and not given.anew:
        try:
            require_same(json.loads(given.output.read_text(encoding="utf-8")), head, given.output)
        except ValueError:
            raise Stop(f"{given.output} is no file of costs; name another --output") from None
        print(f"{given.output} is complete; --anew measures once more")
        return
    journal = Journal(part, head)
    bench = Bench(kit, given, journal)
    cells, began = bench.cells, time.monotonic()
    most = len(cells) * given.seconds * 5 / 60
    print(f"{len(cells)} networks on {given.device} ({head['cpu']}), threads: {given.threads}, about {most:.0f} min")
    for number, cell in enumerate(cells, 1):
        bench.prepare(cell)
        found = f"best batch {cell.best}" if cell.best else "not measured: " + "; ".join(cell.reasons.values())
        print(f"prepared {number} of {len(cells)}: {cell.name}, {found}", flush=True)
    for number in range(ROUNDS):
        waiting = sum(bench.turn(cell, number) for cell in cells)
        minutes = (time.monotonic() - began) / 60
        print(f"round {number + 1} of {ROUNDS}: {waiting} timed, {minutes:.1f} min", flush=True)
    figures = [cell.figures() for cell in cells]
    content = {**head, "measured_at": time.time(), "cells": figures}
    replace(given.output, json.dumps(content, indent=1, allow_nan=False) + "\n")
    journal.stream.close()
    part.unlink()
    unsteady = ["{model}@{resolution}".format(**one) for one in figures if one.get("unsteady")]
    if unsteady:
        print("unsteady, since other programs computed too: {}".format(", ".join(unsteady)))
    print(f"{given.output} is complete: resomap cost-import {given.output}")


def main(words: Optional[Sequence[str]] = None) -> int:
    """Measure as the words say; return the exit code."""
    try:
        kit = load_kit()
        measure(arguments(words, kit), kit)
    except (Stop, OSError) as error:
        print(f"measure.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
