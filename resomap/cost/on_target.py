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

import onnxruntime

from resomap.cost.target_cell import Cell
from resomap.cost.target_cores import cores_for, cores_in_words, given_cores, held_on, quota
from resomap.cost.target_machine import Journal, Stop, Unknown, circumstances, free_memory, replace, require_same
from resomap.cost.target_others import Others
from resomap.cost.target_sessions import BYTES_AN_ACTIVATION, CPU, Sessions
from resomap.cost.target_timing import thinned

FOLDER = Path(__file__).resolve().parent
FORMAT, SCHEMA = "resomap costs", 1
DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")

ROUNDS = 10  # shares of the time of a network, between which the others have their turn
PROBE_SHARE, PROBE_RUNS = 0.1, 3  # of a batch on the way to the best one
PAYS = 1.05  # a larger batch must bring more than this many times the images a second
ATTEMPTS = 3  # at a batch in which the process ended: memory ran out


class Bench:
    """Sessions of the runtime, and the measuring of cells with them."""

    def __init__(self, kit: dict[str, Any], given: argparse.Namespace, journal: Journal) -> None:
        """Go on where the journal ends."""
        self.given, self.journal = given, journal
        self.cells = [Cell(facts) for facts in kit["cells"]]
        self.others = Others([line for line in journal.lines if line["what"] == "others"])
        self.cores = self.own_cores()
        self.sessions = Sessions(FOLDER, given, kit["channels"], self.cores)
        by_name = {cell.name: cell for cell in self.cells}
        for line in journal.lines:
            if "cell" in line:
                by_name[line["cell"]].take(line)

    def own_cores(self) -> list[int]:
        """Return the cores of the threads, which stay the same after an interruption; none where they are not pinned.

        Those of another provider than the processor belong to its driver.
        """
        for line in self.journal.lines:
            if line["what"] == "cores":
                cores: list[int] = line["cores"]
                if set(cores) - given_cores():
                    raise Stop(
                        f"{self.journal.path} was begun on the processor's cores {cores_in_words(cores)}, which this "
                        "process may not use; give it those, or add --anew"
                    )
                return cores
        cores = cores_for(self.given.threads) if self.given.provider == CPU else []
        self.journal.write({"what": "cores", "cores": cores})
        return cores

    def note_others(self) -> None:
        """Write down what other programs took since the last time."""
        line = self.others.line()
        if line:
            self.journal.write({"what": "others", **line})

    def note(self, cell: Cell, what: str, **line: Any) -> None:
        """Write a line into the journal, and have the cell take it in."""
        line = {"cell": cell.name, "what": what, **line}
        self.journal.write(line)
        cell.take(line)

    def attempt(self, cell: Cell, of: str, work: Callable[[], Any]) -> Any:
        """Return what the work gives; None, with the reason noted, where the network or the memory do not allow it."""
        try:
            return work()
        except Stop:
            raise
        except Exception as error:  # the runtime raises nearly anything
            text = " ".join(str(error).split())[:200] or type(error).__name__
            self.note(cell, "reason", of=of, why="".join(one for one in text if one.isprintable()))
            return None

    def require_provider(self, cell: Cell) -> None:
        """Note how many of the network's nodes each provider computes; raise Unknown where the one asked for has none.

        A session lists a provider that takes nothing of the network too, and the processor then computes it all.
        """
        if cell.nodes:
            return
        nodes = self.sessions.nodes(cell)
        if nodes and not nodes.get(self.given.provider):
            raise Unknown(f"{self.given.provider} computes none of its nodes, {', '.join(sorted(nodes))} does")
        self.note(cell, "nodes", nodes=nodes)

    def prepare(self, cell: Cell) -> None:
        """Find the best batch, and the memory that it takes."""
        if cell.best is not None or "model" in cell.reasons:
            return
        session = self.attempt(cell, "model", lambda: self.sessions.of(cell))
        if session is None:
            return
        batch = 1
        while True:
            limit = self.probe(session, cell, batch)
            if 1 not in cell.rates:
                why = "its first pass ended the process, as where memory runs out" if limit == "memory" else limit
                self.note(cell, "reason", of="model", why=why)
                return
            if batch == 1:
                self.attempt(cell, "model", partial(self.require_provider, cell))
                if "model" in cell.reasons:
                    return
            if limit:
                break
            batch *= 2
        most = max(cell.rates.values())
        best = min(size for size, rate in cell.rates.items() if rate * PAYS >= most)
        for size in sorted({1, best} - set(cell.peaks)):
            self.note(
                cell, "memory", batch=size, bytes=self.attempt(cell, "memory", partial(self.sessions.peak, cell, size))
            )
        self.note(cell, "best", batch=best, limit=limit)

    def probe(self, session: Any, cell: Cell, batch: int) -> str:
        """Time a batch, unless it was; return why no larger one is to be tried, or nothing."""
        if batch not in cell.rates:
            free, needed = free_memory(), batch * BYTES_AN_ACTIVATION * (cell.facts["activations"] or 0)
            if cell.obstacle or cell.tried.get(batch, 0) >= ATTEMPTS or (batch > 1 and free and needed > free):
                return cell.obstacle or "memory"
            self.note(cell, "try", batch=batch)
            try:
                run = self.sessions.run_of(session, cell, batch)
                times = self.sessions.timed(run, self.given.seconds * PROBE_SHARE, PROBE_RUNS, until_steady=True)
            except Exception as error:
                is_short = isinstance(error, MemoryError) or "alloc" in str(error).lower()
                self.note(cell, "obstacle", why="memory" if is_short else "refused")
                return cell.obstacle
            self.note(cell, "probe", batch=batch, seconds=statistics.median(times))
        if batch * 2 > self.given.largest_batch:
            return "largest_batch"
        return "time" if cell.rates and batch / cell.rates[batch] * 2 > self.given.seconds * PROBE_SHARE else ""

    def turn(self, cell: Cell, number: int) -> bool:
        """Time latency and throughput once more; return True if something was not steady yet."""
        session, least = None, self.given.least_runs
        for batch in sorted({1, cell.best}) if cell.best else []:
            if (number, batch) in cell.done or cell.is_steady(batch, least) or "timing" in cell.reasons:
                continue
            runs = least * (number + 1) // ROUNDS - least * number // ROUNDS
            session = session or self.attempt(cell, "timing", lambda: self.sessions.of(cell))
            if session is not None:
                run = self.sessions.run_of(session, cell, batch)
                work = partial(self.sessions.timed, run, self.given.seconds / ROUNDS, runs)
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
    cores, most = len(given_cores()) or os.cpu_count() or 1, quota()
    cores = cores if most is None else max(1, min(cores, int(most)))
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
    if given.device.lower() in ("cpu", "cuda"):
        raise Stop(f"--device {given.device} means the machine of the study there; name this one otherwise")
    if given.threads < 1 or not 0 < given.seconds < 1e6 or given.largest_batch < 1:
        raise Stop("--threads, --seconds and --largest-batch must be more than 0")
    if given.provider not in onnxruntime.get_available_providers():
        there = ", ".join(onnxruntime.get_available_providers())
        raise Stop(f"--provider {given.provider!a} is not in this onnxruntime, which has {there}; name one of them")
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
    bench = Bench(kit, given, Journal(part, head))
    with held_on(bench.cores):
        measure_all(bench, head["cpu"])
    figures = [cell.figures() for cell in bench.cells]
    others = bench.others.mean()
    told = {"pinned_cores": cores_in_words(bench.cores), "other_programs_cores": others}
    content = {**head, **told, "measured_at": time.time(), "cells": figures}
    replace(given.output, json.dumps(content, indent=1, allow_nan=False) + "\n")
    bench.journal.end()
    unsteady = ["{model}@{resolution}".format(**one) for one in figures if one.get("unsteady")]
    if unsteady:
        beside = "" if others is None else f"; meanwhile other programs took {others:.1f} cores"
        print("unsteady, so that their order says nothing: {}{}".format(", ".join(unsteady), beside))
    print(f"{given.output} is complete: resomap cost-import {given.output}")


def measure_all(bench: Bench, cpu: str) -> None:
    """Measure all networks in turns, and write each figure into the journal; stop where none can be measured."""
    cells, given, began = bench.cells, bench.given, time.monotonic()
    most, cores = len(cells) * given.seconds * 5 / 60, cores_in_words(bench.cores)
    threads = f"{given.threads} (on the cores {cores})" if cores else f"{given.threads} (not pinned)"
    print(f"{len(cells)} networks on {given.device} ({cpu}), threads: {threads}, about {most:.0f} min", flush=True)
    for number, cell in enumerate(cells, 1):
        bench.prepare(cell)
        found = f"best batch {cell.best}" if cell.best else "not measured: " + "; ".join(cell.reasons.values())
        print(f"prepared {number} of {len(cells)}: {cell.name}, {found}", flush=True)
    if not any(cell.best for cell in cells):
        bench.journal.end()
        raise Stop(f"none of the networks can be measured: {next(iter(cells[0].reasons.values()))}")
    bench.note_others()
    for number in range(ROUNDS):
        waiting = sum(bench.turn(cell, number) for cell in cells)
        minutes = (time.monotonic() - began) / 60
        print(f"round {number + 1} of {ROUNDS}: {waiting} timed, {minutes:.1f} min", flush=True)
        bench.note_others()


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
