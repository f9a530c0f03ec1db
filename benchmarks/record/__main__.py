"""Record grids of real trainings: `python -m benchmarks.record [GRID ...] [--seeds N] [--to FOLDER] [--list]`.

Without names every grid is recorded, at first with three seeds each, then the further seeds of those that have eight.
The same command goes on where it was ended; a grid whose seeds are all there is left as it is.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.record.grids import FEW, GRIDS, TINY, GridDefinition
from benchmarks.record.recorded_grid import RECORDED
from benchmarks.record.recorder import GridRecorder, only_recorder
from resomap.core.errors import ResomapError


def main() -> None:
    """Record what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grids", nargs="*", metavar="GRID", help="names of grids; without any: all")
    parser.add_argument("--seeds", type=int, help="no more seeds of a grid than these many")
    parser.add_argument("--to", type=Path, default=RECORDED, help="folder of the recorded grids")
    parser.add_argument("--list", action="store_true", help="print the grids, and record nothing")
    given = parser.parse_args()
    try:
        chosen = choose(given.grids)
        if given.list:
            print_grids(chosen)
            return
        with only_recorder(given.to):
            record(chosen, given.seeds, given.to)
    except ResomapError as error:
        sys.exit(f"error: {error}")


def choose(wanted: Sequence[str]) -> list[GridDefinition]:
    """Return the grids of these names; all but the tiny one of the tests where none is named."""
    known = {grid.name: grid for grid in (*GRIDS, TINY)}
    if unknown := [name for name in wanted if name not in known]:
        raise ResomapError(f"there is no grid '{unknown[0]}'; there are {', '.join(known)}")
    return [known[name] for name in wanted] or list(GRIDS)


def record(grids: Sequence[GridDefinition], most: int | None, directory: Path) -> None:
    """Record the seeds of grids that are missing, the first few of each before the further ones of any."""
    began = time.monotonic()
    for grid, seeds in turns(grids, most):
        recorder = GridRecorder(grid, directory, lambda text: print(text, flush=True))
        for seed in recorder.missing(seeds):
            recorder.record(seed)
            print(f"{grid.name}, seed {seed} is on record, {time.monotonic() - began:.0f} s", flush=True)


def turns(grids: Sequence[GridDefinition], most: int | None) -> Iterator[tuple[GridDefinition, int]]:
    """Yield grids with the number of seeds to bring them to."""
    for highest in (FEW, max(grid.seeds for grid in grids)):
        for grid in grids:
            yield grid, min(highest, grid.seeds, grid.seeds if most is None else most)


def print_grids(grids: Sequence[GridDefinition]) -> None:
    """Print a Markdown table of grids."""
    print(f"| grid | images | models | resolutions | seeds | what it shows |\n|{'---|' * 6}")
    for grid in grids:
        sizes = ", ".join(map(str, grid.resolutions))
        models = ", ".join(grid.models)
        print(f"| {grid.name} | {grid.kind} | {models} | {sizes} | {grid.seeds} | {grid.about} |")


if __name__ == "__main__":
    main()
