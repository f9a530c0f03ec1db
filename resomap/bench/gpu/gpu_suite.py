"""Run of `resomap bench --gpu`: each part in a process of its own, within its time and the time of the whole."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import resomap
from resomap.bench.gpu.gpu_record import (
    CUT,
    DONE,
    FAILED,
    LEFT_OUT,
    RUNNING,
    PartRecord,
    Record,
    Row,
    table_head,
    table_row,
)
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.gpu.packages_here import missing_here, versions_here
from resomap.bench.gpu.part_table import PARTS, Part
from resomap.core.errors import ResomapError
from resomap.core.files import write_json

LIMIT_SECONDS = 480.0  # of the whole run
REHEARSAL_SECONDS = 1800.0  # of a rehearsal, of which each part may take all: a CPU may be busy
LEAST_SECONDS = 5.0  # where less is left, no part begins
POLL_SECONDS = 0.1
MACHINE = "machine"  # the part without which no other one makes sense


class GpuSuite:
    """One run over some parts, whose lines `run` yields as they are found; `record` has all of it."""

    def __init__(
        self,
        settings: GpuSettings,
        output: Path | None = None,
        parts: Sequence[Part] = PARTS,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        self._settings, self._parts = settings, parts
        self._place = Path(settings.place)
        self._settings_file = self._place / "settings.json"
        self.record = Record(
            device=settings.device,
            is_rehearsal=not settings.is_gpu,
            limit_seconds=limit_seconds,
            packages=versions_here(),
            missing=missing_here(),
            parts=[PartRecord(one.name, one.about, one.judges, one.seconds) for one in parts],
            path=output,
        )

    def run(self) -> Iterator[str]:
        """Yield the lines of the table. Raises ResomapError where the wanted device is not there."""
        began = time.monotonic()
        end = began + self.record.limit_seconds
        write_json(self._settings_file, self._settings.as_json())
        for name, without in self.record.missing.items():
            yield f"{name} is not installed: {without}"
        if self.record.is_rehearsal:
            yield "a rehearsal on the CPU with tiny networks: its figures say nothing of a GPU"
        yield from ("", *table_head())
        for one, found in zip(self._parts, self.record.parts, strict=True):
            yield from self._run_part(one, found, end)
            self.record.seconds = time.monotonic() - began
            self.record.save()
            if one.name == MACHINE and found.state == FAILED:
                way_out = (
                    "; `resomap bench --gpu --device cpu` rehearses without a GPU" if self._settings.is_gpu else ""
                )
                raise ResomapError(f"{found.reason}{way_out}")
        yield ""
        yield self._ending()

    def _ending(self) -> str:
        wrong = [part.name for part in self.record.parts if part.passed is False]
        took = f"{self.record.seconds:.0f} s"
        if not any(part.judges for part in self.record.parts):
            return f"nothing was checked, only measured ({took})"
        if not wrong:
            return f"all that was checked is right ({took})"
        return f"not shown to be right: {', '.join(wrong)} ({took})"

    def _run_part(self, one: Part, found: PartRecord, end: float) -> Iterator[str]:
        began = time.monotonic()
        seconds = min(one.seconds, end - began)
        if end - began < LEAST_SECONDS:
            found.state, found.reason = LEFT_OUT, "no time was left for it"
        else:
            found.state = RUNNING
            self.record.save()
            for row in self._rows(one, found, began + seconds):
                found.rows.append(row)
                self.record.save()
                yield table_row(one.name, row)
            found.seconds = time.monotonic() - began
            if found.state == CUT:
                found.reason = f"ended after {seconds:.0f} s, with what it had by then"
        if found.reason is not None:
            yield table_row(one.name, Row(one.about, f"{found.state}: {found.reason}", found.passed))

    def _rows(self, one: Part, found: PartRecord, end: float) -> Iterator[Row]:
        """Yield the rows of a part's process until it ends, or is ended at `end`; set how it ended."""
        rows, log = self._place / f"{one.name}.jsonl", self._place / f"{one.name}.log"
        rows.touch()
        words = [sys.executable, "-m", "resomap.bench.gpu.part_process", one.name, str(self._settings_file), str(rows)]
        with log.open("w") as said, rows.open() as lines:
            process = subprocess.Popen(
                words,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                cwd=self._place,
            )
            try:
                ended = False
                while not ended:
                    ended = process.poll() is not None  # before reading, so that nothing is missed
                    yield from map(_parsed, _whole_lines(lines.readline))
                    if not ended and time.monotonic() >= end:
                        found.state = CUT
                        return
                    time.sleep(0 if ended else POLL_SECONDS)
            finally:
                _end_session(process)
        found.state = FAILED if process.returncode else DONE
        if process.returncode:
            found.reason = _last_line(log) or f"its process ended with {process.returncode}"


def run_suite(
    settings_in: Callable[[Path], GpuSettings], output: Path | None, parts: Sequence[Part], limit_seconds: float
) -> Iterator[str | int]:
    """Yield the lines of a run in a temporary directory, and at last the exit code."""
    with tempfile.TemporaryDirectory(prefix="resomap-bench-", ignore_cleanup_errors=True) as place:
        suite = GpuSuite(settings_in(Path(place)), output, parts, limit_seconds)
        yield from suite.run()
        yield 0 if suite.record.passed else 1


def _environment() -> dict[str, str]:
    """Return the environment in which processes of other folders find this very package, installed or not."""
    checkout, others = str(Path(resomap.__file__).parents[1]), os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{others}" if others else checkout}


def _whole_lines(read: Callable[[], str]) -> Iterator[str]:
    """Yield the lines that are there; the writer writes each at once, with its end."""
    while line := read():
        yield line


def _parsed(line: str) -> Row:
    return Row(**json.loads(line))


def _end_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of a part: its process, and the trainings that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
