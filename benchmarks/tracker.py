"""Cost of asking the tracker in `snakemake -n`: `python -m benchmarks.tracker [--runs 40,1000,10000,50000]`.

A real `mlflow server` on an SQLite store of that many runs, each with the tags, params and metrics of a real one. The
default grid of 40 cells is planned in fresh directories, in turn with and without the question. The complete runs of
this grid's settings are of another seed, so that they are answered, read and checked, and yet all 40 cells remain: both
plans are the same. Prints two Markdown tables: growing stores with 40 such runs, and one store with more of them.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.markers import as_if_trained
from resomap.cells.marker import TrainingCost
from resomap.cells.study import Study
from resomap.cells.tags import Tag, completion
from resomap.config.load import load_config

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "Benchmark"
FEW = 40  # complete runs of the grid's own settings
TAGS, PARAMS, METRICS = 9, 45, 14  # of a filling run, beside the tags that are asked for


class Store:
    """The server's database, filled behind its back: thousands of runs a second."""

    def __init__(self, database: Path, experiment: str, study: Study) -> None:
        self._database, self._experiment, self._study = database, experiment, study
        self.runs = self.matches = 0

    def grow(self, runs: int, matches: int) -> None:
        """Add runs until there are so many, of which so many are complete under the study's base."""
        new_matches = max(0, matches - self.matches)
        own = [self._match(self.matches + number) for number in range(new_matches)]
        others = [self._other(self.runs + number) for number in range(max(0, runs - self.runs - new_matches))]
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            for name, tags in [*others, *own]:
                self._insert(database, name, tags)
        self.runs += len(own) + len(others)
        self.matches += len(own)

    def _match(self, number: int) -> tuple[str, dict[str, str]]:
        cells = self._study.cells()
        cell = self._study.cell(cells[number % FEW].model, cells[number % FEW].resolution, 1 + number // FEW)
        fingerprint, uid = self._study.fingerprint(cell), uuid.uuid4().hex
        marker = as_if_trained(
            self._study,
            cell,
            uid=uid,
            finished_at=time.time(),
            metrics={f"{split}/metric{index}": 0.5 for split in ("val", "test") for index in range(8)},
            cost=TrainingCost(params=1, flops=1, train_seconds=1.0, images_per_second=1.0, device="GPU"),
        )
        return cell.name, {
            Tag.BASE: self._study.base,
            Tag.FINGERPRINT: fingerprint,
            Tag.CELL: cell.name,
            Tag.UID: uid,
            **completion(marker),
        }

    def _other(self, number: int) -> tuple[str, dict[str, str]]:
        return f"other{number}", {
            Tag.BASE: f"{number // FEW:012x}",
            Tag.FINGERPRINT: f"{number:012x}",
            Tag.CELL: f"other{number}@224",
            Tag.UID: uuid.uuid4().hex,
            Tag.COMPLETE: "1",
            Tag.MARKER: json.dumps({"text": "x" * 900}),
        }

    def _insert(self, database: sqlite3.Connection, name: str, tags: dict[str, str]) -> None:
        run, now = uuid.uuid4().hex, round(time.time() * 1000)
        database.execute(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time,"
            " end_time, source_version, lifecycle_stage, artifact_uri, experiment_id)"
            " VALUES (?, ?, 'LOCAL', '', '', 'user', 'FINISHED', ?, ?, '', 'active', ?, ?)",
            (run, name, now, now, f"mlflow-artifacts:/{run}", int(self._experiment)),
        )
        values = {**tags, Tag.RUN_NAME: name, **{f"tag{index}": f"value {index}" for index in range(TAGS)}}
        database.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", [(*item, run) for item in values.items()]
        )
        database.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(f"param{index}", "0.001", run) for index in range(PARAMS)],
        )
        database.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, 0.5, ?, 25, 0, ?)",
            [(f"metric{index}", now, run) for index in range(METRICS)],
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What asking the tracker adds to `snakemake -n`.")
    parser.add_argument("--runs", default="40,1000,10000,50000", help="sizes of the store")
    parser.add_argument("--matches", default="40,400,4000", help="complete runs of the grid, in the last table")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    sizes, matches = ([int(text) for text in str(each).split(",")] for each in (given.runs, given.matches))
    with tempfile.TemporaryDirectory() as place, _server(Path(place)) as uri:
        study = Study.open(load_config().model_dump() | {"device": "cpu", "experiment": EXPERIMENT})
        answer = _post(uri, "experiments/create", {"name": EXPERIMENT})
        store = Store(Path(place, "mlflow.db"), str(answer["experiment_id"]), study)
        _print_head("runs in the store, 40 of them complete for this grid")
        for size in sizes:
            store.grow(size, FEW)
            _print_row(f"{store.runs:,}", *_compare(Path(place), uri, given.repeats))
        print()
        _print_head(f"complete runs for this grid, of {store.runs:,}")
        for count in matches:
            store.grow(store.runs, count)
            _print_row(f"{store.matches:,}", *_compare(Path(place), uri, given.repeats))


def _compare(place: Path, uri: str, repeats: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the plan without and with the question."""
    # A server's processes are slow at their first question; one that others use as well has been asked before.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: _plan(place, uri, "true"), range(8)))
    pairs = [(_plan(place, uri, "false"), _plan(place, uri, "true")) for _ in range(repeats)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _plan(place: Path, uri: str, skip_completed: str) -> float:
    with tempfile.TemporaryDirectory(dir=place) as directory:
        settings = [f"skip_completed={skip_completed}", f"experiment={EXPERIMENT}", "device=cpu"]
        words = ["snakemake", "-n", "--directory", directory, "--config", *settings, f"tracking={{uri: '{uri}'}}"]
        command = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
        began = time.monotonic()
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        if finished.returncode or finished.stdout.count("rule train:") != FEW:
            raise SystemExit(f"not all 40 cells remain:\n{finished.stderr}")
        if "is not asked" in finished.stderr or "not known" in finished.stderr:
            print(finished.stderr.splitlines()[0], file=sys.stderr)
        return seconds


def _print_head(what: str) -> None:
    print(
        f"| {what} | `-n` without asking, s | `-n` asking, s | added, s (median of pairs) |\n|---|---|---|---|",
        flush=True,
    )


def _print_row(name: str, without: list[float], asking: list[float]) -> None:
    added = [other - one for one, other in zip(without, asking, strict=True)]
    medians = " | ".join(f"{statistics.median(values):.2f}" for values in (without, asking, added))
    print(f"| {name} | {medians} ({min(added):.2f} to {max(added):.2f}) |", flush=True)


@contextmanager
def _server(directory: Path) -> Iterator[str]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--artifacts-destination", str(directory)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    uri = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1)
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit((directory / "log").read_text()) from None
                time.sleep(0.3)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=30)


def _post(uri: str, endpoint: str, content: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/{endpoint}", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return dict(json.load(response))


if __name__ == "__main__":
    main()
