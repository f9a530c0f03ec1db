"""Kills at file operations: `python -m benchmarks.kills --kills 1000 [--folder build/kills] [--seed 0]`.

Trains, evaluates, maps and reports a tiny study as processes, kills each (-9) at one of its file operations, calls the
same command once more, and compares the folder with that of an undisturbed run: the same paths, and the same bytes but
for what `volatile.toml` names. Two variants take turns: float32 with one thread, bf16 with two. Called again, it goes
on where it was stopped. Most processes are forked from one that has imported torch, so that a kill takes seconds:

    nohup nice -n 15 python -m benchmarks.kills --kills 1000 >> kills.log &

Ends with 1 where anything differs; the folders that do are kept as `differs-<seed>-<index>`.
"""

import argparse
import sys
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

from benchmarks.kills.campaign import STEPS, VARIANTS, Campaign, Outcome, table


def main() -> int:
    """Run the campaign of each variant in turn, and print a table of all outcomes and one for each variant."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description="Kills at file operations.")
    parser.add_argument("--kills", type=int, default=1000, help="how many are to hit, those of earlier calls included")
    parser.add_argument("--folder", type=Path, default=Path("build", "kills"), help="of the studies and the outcomes")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; each seed is a campaign of its own")
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS), help="to be killed")
    names = [variant.name for variant in VARIANTS]
    parser.add_argument("--variants", nargs="+", choices=names, default=names, help="that take turns")
    given = parser.parse_args()
    variants = [variant for variant in VARIANTS if variant.name in given.variants]
    with ExitStack() as stack:
        campaigns = [
            stack.enter_context(Campaign(given.folder / variant.name, given.seed, given.steps, variant))
            for variant in variants
        ]
        for variant, campaign in zip(variants, campaigns, strict=True):
            count = sum(campaign.counts.values())
            print(f"{variant.name}: {count} operations of {len(campaign.counts)} kinds", flush=True)
        for each in zip_longest(*(campaign.run(given.kills // len(campaigns)) for campaign in campaigns)):
            for variant, one in zip(variants, each, strict=True):
                if one is not None:
                    print(f"{variant.name} {sentence(one)}", flush=True)
        outcomes = {variant.name: campaign.outcomes() for variant, campaign in zip(variants, campaigns, strict=True)}
    outcomes["all"] = [one for of_variant in outcomes.values() for one in of_variant]
    for name, found in outcomes.items():
        print(f"\n{name}:\n\n{table(found)}", flush=True)
    return int(any(one.differences for one in outcomes["all"]))


def sentence(one: Outcome) -> str:
    """Return what a kill hit, and how it ended."""
    what = f"{one.index} {one.step}: {one.operation} {one.file} ({one.number}{', whole processes' * one.is_whole})"
    return f"{what}: {'; '.join(one.differences) or ('same' if one.is_hit else 'not reached')}"


if __name__ == "__main__":
    sys.exit(main())
