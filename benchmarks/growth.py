"""Growth of planning with the grid: `python -m benchmarks.growth [--cells 40 400 4000 10000] [--rounds]`.

Prints Markdown tables for docs/growth.md. The first compares `snakemake -n` on grids of 8 models x 5 resolutions x
seeds with a Snakefile of one bare rule and as many jobs (`-n` of both asks no tracker); the second, with --rounds, has
how long Snakemake takes from one job's end to the next one's start while so many jobs are ready.
"""

import argparse
import math
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.markers import as_if_trained
from resomap.bench.plan_time import BARE, OPTIONS, call, compare_planning, grid, plan_words, snakemake
from resomap.cells.study import Study

ROUND_SECONDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[40, 400, 4000, 10000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", action="store_true", help="time the scheduler instead")
    given = parser.parse_args()
    (print_rounds if given.rounds else print_planning)(given.cells, given.repeats)


def print_planning(sizes: Sequence[int], repeats: int) -> None:
    """Print time, memory and jobs of `-n`: nothing done, the bare rule, everything done."""
    print(f"| cells | jobs | `-n` | bare rule | ratio | memory | bare | `-n`, all done |\n|{'---|' * 8}")
    for cells in sizes:
        with tempfile.TemporaryDirectory() as place:
            found = compare_planning(Path(place), cells, repeats)
            finish_all(grid(cells), Path(place))
            done = min(call(plan_words(Path(place), grid(cells))).seconds for _ in range(repeats))
        seconds, bare_seconds = (min(one.seconds for one in side) for side in (found.ours, found.bare))
        memory, bare_memory = (min(one.memory_mb for one in side) for side in (found.ours, found.bare))
        print(
            f"| {cells:,} | {found.jobs:,} | {seconds:.1f} s | {bare_seconds:.1f} s | {seconds / bare_seconds:.2f} "
            f"| {memory:.0f} MB | {bare_memory:.0f} MB | {done:.1f} s |",
            flush=True,
        )


def finish_all(config: dict[str, object], directory: Path) -> None:
    """Leave the marker of each cell, as if all had been trained."""
    study = Study.open(config)
    for cell in study.cells():
        as_if_trained(study, cell).write(directory / cell.marker)


def print_rounds(sizes: Sequence[int], _repeats: int) -> None:
    """Print the seconds from job to job where each takes next to no time, by scheduler."""
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
