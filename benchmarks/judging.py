"""Comparison of what judges a grid: the quick study with three seeds, three folds and five folds, side by side.

    python -m benchmarks.judging --folder build/judging

Each plan is the study of `--configfile` (config/quick.yaml) in a folder of its own below `--folder`, run by the plain
command: what was interrupted goes on. On two cores config/quick.yaml takes about an hour and a half for all three.
The table says what each decides, proves and costs: the same images, models, resolutions and recipe, and the same test
split. `--plans` runs some of them; the table has those that are finished.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.core.files import read_json
from resomap.summary.document import Map

ROOT = Path(__file__).resolve().parents[1]
PLANS: dict[str, dict[str, Any]] = {
    "3 seeds": {"seeds": [0, 1, 2]},
    "3 folds": {"data": {"folds": 3}},
    "5 folds": {"data": {"folds": 5}},
}


@dataclass(frozen=True)
class Judged:
    """A finished map and what it took; widths and deficits are shares, hours of training alone."""

    map: Map
    trainings: int
    hours: float

    @property
    def width(self) -> float:
        """Mean width of the cells' 95 % intervals of the study's metric."""
        found = [square.validation.get(self.map.metric) for square in self.map.squares]
        return statistics.mean(
            one.high - one.low for one in found if one and one.low is not None and one.high is not None
        )

    @property
    def images(self) -> int | None:
        """Images that judge a cell."""
        found = (square.validation.get(self.map.metric) for square in self.map.squares)
        return next((one.images for one in found if one), None)


def folder_of(plan: str, folder: Path) -> Path:
    """Return the working directory of a plan."""
    return folder / plan.replace(" ", "-")


def run(plan: str, folder: Path, configfile: Path, cores: int) -> None:
    """Run a plan, or go on with it. Raises CalledProcessError where Snakemake fails."""
    place = folder_of(plan, folder)
    place.mkdir(parents=True, exist_ok=True)
    changes = [f"{key}={json.dumps(value)}" for key, value in PLANS[plan].items()]
    words = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--directory", str(place)]
    words += ["--configfile", str(configfile), "--config", *changes]
    subprocess.run(words, cwd=ROOT, check=True, env=dict(os.environ))


def judged(plan: str, folder: Path) -> Judged | None:
    """Return a plan's map; None where it is not finished."""
    results = folder_of(plan, folder) / "results"
    try:
        found = Map.model_validate(read_json(results / "summary.json"))
    except ValueError:
        return None
    if found.missing or found.answer is None:
        return None
    seconds = [training.train_seconds or 0.0 for training in found.trainings]
    return Judged(found, len(seconds), sum(seconds) / 3600)


def print_table(found: dict[str, Judged]) -> None:
    """Print the Markdown table, a row a plan."""
    print(
        "\n| plan | trainings | hours of training | images that judge | mean width | answer | P(within margin) | "
        "expected deficit | proven deficit | decided |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for plan, one in found.items():
        answer = one.map.answer
        assert answer is not None
        proven = "-" if answer.proven_deficit is None else f"{answer.proven_deficit:.3f}"
        print(
            f"| {plan} | {one.trainings} | {one.hours:.2f} | {one.images} | {one.width:.3f} | "
            f"{answer.model}@{answer.resolution} | {answer.probability_within_margin:.2f} | "
            f"{answer.expected_deficit:.3f} | {proven} | {'yes' if answer.decided else 'no'} |"
        )


def main() -> None:
    """Run the plans that are wanted, and print the table of those that are finished."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "judging")
    parser.add_argument("--configfile", type=Path, default=ROOT / "config" / "quick.yaml")
    parser.add_argument("--plans", nargs="*", choices=list(PLANS), default=list(PLANS))
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    for plan in given.plans:
        run(plan, given.folder.resolve(), given.configfile.resolve(), given.cores)
    print_table({plan: one for plan in PLANS if (one := judged(plan, given.folder.resolve())) is not None})


if __name__ == "__main__":
    main()
