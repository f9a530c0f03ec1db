"""Judge decision rules on recorded grids: `python -m benchmarks.replay [GRID ...] [--replays 200] [--seeds 1 3]`.

Prints Markdown tables: counts of each rule on each grid over replays (seeds and validation images drawn anew, see
`benchmarks/replay/redraw.py`), means over the grids with their standard errors, each grid counted once, and what the
rules say of the maps as they were recorded.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.record.recorded_grid import RECORDED, load, names
from benchmarks.replay.judge import Clustered, Judgement, judge
from benchmarks.replay.redraw import Redraw
from benchmarks.replay.rules import RULES
from resomap.core.errors import ResomapError

COLUMNS = "maps | decided | wrong | within the margin | mean regret, points | stated | overstated, points"


def main() -> None:
    """Replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grids", nargs="*", metavar="GRID", help="names of recorded grids; without any: all")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--margin", type=float, default=0.01)
    parser.add_argument("--metric", default="accuracy", choices=["accuracy", "balanced_accuracy", "macro_f1", "auroc"])
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--without", metavar="KIND", help="leave out the grids of one kind of images")
    parser.add_argument("--recorded", type=Path, default=RECORDED, help="folder of the recorded grids")
    given = parser.parse_args()
    try:
        replay(given)
    except ResomapError as error:
        sys.exit(f"error: {error}")


def replay(given: argparse.Namespace) -> None:
    """Print the tables of all grids, then the means over them."""
    of_rule: dict[tuple[str, int], list[Judgement]] = defaultdict(list)
    as_recorded: list[str] = []
    grids = [load(name, given.recorded) for name in given.grids or names(given.recorded)]
    kept = [grid for grid in grids if grid.kind != given.without]
    if not kept:
        raise ResomapError(
            f"no recorded grid of {given.recorded} is left to replay; record one by `python -m benchmarks.record`"
        )
    print(f"| grid | seeds | rule | {COLUMNS} |\n|{'---|' * 10}")
    for grid in kept:
        redraw = Redraw(grid, given.metric)
        recorded = redraw.as_recorded()
        best = max(recorded.truth.values())
        for rule in given.rules:
            for seeds in given.seeds:
                found = judge(RULES[rule], redraw.maps(given.replays, seeds), given.margin, given.metric)
                of_rule[rule, seeds].append(found)
                print(f"| {grid.name} | {seeds} | {rule} | {_cells(found)} |", flush=True)
            verdict = RULES[rule](recorded.trainings, recorded.costs, given.margin, given.metric)
            lost = best - recorded.truth[verdict.cell]
            told = "decided" if verdict.decided else "undecided"
            cell = f"{verdict.cell[0]}@{verdict.cell[1]}"
            as_recorded.append(f"| {grid.name} | {len(grid.seeds)} | {rule} | {cell} | {told} | {100 * lost:.1f} |")
    print("\nMeans over the grids, each counted once, and their standard errors, in points of 100:\n")
    print(f"| rule | seeds | grids | decided | wrong | regret | overstated |\n|{'---|' * 7}")
    for (rule, seeds), found_of_grids in of_rule.items():
        print(f"| {rule} | {seeds} | {len(found_of_grids)} | {' | '.join(_means(found_of_grids))} |")
    print("\nThe maps as they were recorded, with all seeds; points that the cell is truly below the best:\n")
    print(f"| grid | seeds | rule | cell | | below the best |\n|{'---|' * 6}")
    print("\n".join(as_recorded))


def _cells(found: Judgement) -> str:
    stated = "" if found.stated is None else f"{found.stated:.2f}"
    overstated = "" if found.overstated is None else f"{100 * found.overstated:+.1f}"
    regret = f"{100 * found.regret:.2f}"
    return f"{found.maps} | {found.decided} | {found.wrong} | {found.within} | {regret} | {stated} | {overstated}"


def _means(found: list[Judgement]) -> list[str]:
    overstated = [one.overstated for one in found if one.overstated is not None]
    return [
        Clustered.of([one.decided / one.maps for one in found]).in_points(),
        Clustered.of([one.share_wrong for one in found]).in_points(),
        Clustered.of([one.regret for one in found]).in_points(),
        Clustered.of(overstated).in_points() if overstated else "",
    ]


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        main()
