"""What planning costs as the grid grows: `python -m benchmarks.growth [--cells 40 400 4000 10000] [--rounds]`.

Prints Markdown tables for docs/growth.md. The first compares `snakemake -n` on grids of 8 models x 5 resolutions x
seeds with a Snakefile of one bare rule and as many jobs (`-n` of both asks no tracker); the second, with --rounds, has
how long Snakemake takes from one job's end to the next one's start while so many jobs are ready.
"""

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from resomap.files import write_json
from resomap.marker import SCHEMA, write_marker
from resomap.study import Study

ROOT = Path(__file__).resolve().parents[1]
BARE = """
rule all:
    input: [f"results/{{number}}.done" for number in range({jobs})]

rule train:
    output: "results/{{number}}.done"
    resources: gpu=1
    shell: "touch {{output}}"
"""
ROUND_SECONDS = 60
OPTIONS = ("--cores", "2", "--resources", "gpu=1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[40, 400, 4000, 10000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", action="store_true", help="time the scheduler instead")
    given = parser.parse_args()
    (print_rounds if given.rounds else print_planning)(given.cells, given.repeats)


def print_planning(sizes: Sequence[int], repeats: int) -> None:
    """Time, memory and jobs of `-n`: nothing done, the bare rule, everything done."""
    print(f"| cells | jobs | `-n` | bare rule | ratio | memory | bare | `-n`, all done |\n|{'---|' * 8}")
    for cells in sizes:
        with tempfile.TemporaryDirectory() as place:
            config = {"seeds": list(range(cells // 40)), "device": "cpu", "skip_completed": False}
            ours, bare = Path(place, "ours"), Path(place, "bare")
            ours.mkdir()
            bare.mkdir()
            write_json(ours / "study.yaml", config)  # JSON is YAML
            words = ["-n", *OPTIONS, "--configfile", str(ours / "study.yaml"), "--directory", str(ours)]
            jobs = count_jobs(words)
            (bare / "Snakefile").write_text(BARE.format(jobs=jobs))
            plain = ["-n", *OPTIONS, "--directory", str(bare), "--snakefile", str(bare / "Snakefile")]
            # In turn, so that what else the machine does meets both.
            times = [(run(words), run(plain)) for _ in range(repeats)]
            seconds, memory = (min(pair[0][place] for pair in times) for place in (0, 1))
            bare_seconds, bare_memory = (min(pair[1][place] for pair in times) for place in (0, 1))
            finish_all(config, ours)
            done = min(run(words)[0] for _ in range(repeats))
        print(
            f"| {cells:,} | {jobs:,} | {seconds:.1f} s | {bare_seconds:.1f} s | {seconds / bare_seconds:.2f} "
            f"| {memory:.0f} MB | {bare_memory:.0f} MB | {done:.1f} s |",
            flush=True,
        )


def count_jobs(words: Sequence[str]) -> int:
    listed = subprocess.run(snakemake(*words), cwd=ROOT, capture_output=True, text=True, check=True)
    return int(re.findall(r"^total +(\d+)", listed.stdout + listed.stderr, re.MULTILINE)[-1])


def run(words: Sequence[str]) -> tuple[float, float]:
    """Seconds and MB at most of one call."""
    started = time.perf_counter()
    process = subprocess.Popen(snakemake(*words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - started, usage.ru_maxrss / 1000


def snakemake(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("snakemake")), *words]


def finish_all(config: dict[str, object], directory: Path) -> None:
    """Leave the marker of each cell, as if all had been trained."""
    study = Study.open(config)
    for cell, fingerprint in study.fingerprints().items():
        content = {
            "schema": SCHEMA,
            "model": cell.model,
            "resolution": cell.resolution,
            "seed": cell.seed,
            "fingerprint": fingerprint,
            "base": study.base,
            "uid": "0" * 32,
            "run_id": None,
            "origin": "local",
            "finished_at": 0.0,
            "epochs": 25,
            "metrics": {"test/accuracy": 0.5},
            "cost": {},
            "exact": True,
        }
        write_marker(directory / cell.marker, content)


def print_rounds(sizes: Sequence[int], _repeats: int) -> None:
    """Seconds from job to job where each takes next to no time, by scheduler."""
    print("| ready jobs | `--scheduler ilp` (default) | `--scheduler greedy` |\n|---|---|---|")
    for jobs in sizes:
        found = [seconds_a_round(jobs, scheduler) for scheduler in ("ilp", "greedy")]
        print(f"| {jobs:,} | {found[0]:.2f} s | {found[1]:.2f} s |", flush=True)


def seconds_a_round(jobs: int, scheduler: str) -> float:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "Snakefile").write_text(BARE.format(jobs=jobs))
        words = snakemake("--scheduler", scheduler, *OPTIONS, "--quiet", "--directory", place)
        process = subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        results, started = Path(place, "results"), time.monotonic()
        while process.poll() is None and time.monotonic() - started < ROUND_SECONDS:
            time.sleep(0.2)
        process.kill()  # it would first finish what it is at, solving included
        process.wait()
        ends = sorted(path.stat().st_mtime for path in results.iterdir()) if results.exists() else []
        return (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else math.inf


if __name__ == "__main__":
    main()
