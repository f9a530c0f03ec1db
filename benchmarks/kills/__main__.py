"""Kills at file operations: `python -m benchmarks.kills --kills 1000 [--folder build/kills] [--seed 0]`.

Trains, evaluates, maps and reports a tiny study as processes, kills each (-9) at one of its file operations, calls the
same command once more, and compares the folder with that of an undisturbed run: the same paths, and the same bytes but
for what `volatile.toml` names. Called again, it goes on where it was stopped. A kill takes 10 to 20 s on one core:

    nohup nice -n 15 python -m benchmarks.kills --kills 1000 >> kills.log &

Ends with 1 where anything differs; the folders that do are kept as `differs-<seed>-<index>`.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.kills.campaign import STEPS, Campaign, table


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Kills at file operations.")
    parser.add_argument("--kills", type=int, default=1000, help="how many are to hit, those of earlier calls included")
    parser.add_argument("--folder", type=Path, default=Path("build", "kills"), help="of the study and the outcomes")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; each seed is a campaign of its own")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS), help="to be killed")
    given = parser.parse_args()
    campaign = Campaign(given.folder, given.seed, given.steps)
    print(f"{sum(campaign.counts.values())} operations of {len(campaign.counts)} kinds", flush=True)
    for one in campaign.run(given.kills):
        what = f"{one.index} {one.step}: {one.operation} {one.file} ({one.number})"
        print(f"{what}: {'; '.join(one.differences) or ('same' if one.is_hit else 'not reached')}", flush=True)
    outcomes = campaign.outcomes()
    print(table(outcomes), flush=True)
    return int(any(one.differences for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
