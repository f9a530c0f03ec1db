"""Fairness of the learning rate: `python -m benchmarks.learning_rate [--epochs 25] [--seeds 0 1 2]`.

Trains each of `--models` on the ELPV images at 64 pixels, with the default learning rate and with the one that
`learning_rate: auto` finds, by the workflow in two studies. Prints a Markdown table: both rates, the accuracy on the
test images, and the difference (auto minus fixed) with a 95 % interval from a bootstrap over the test images, the same
ones for both rates and all models. `--place DIR` keeps the studies, and goes on with them.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from resomap.cells.evaluation_record import predictions_path
from resomap.cells.marker import require_done
from resomap.cells.predictions import Predictions
from resomap.cells.study import CURRENT, Study
from resomap.config.schema import DEFAULT_MODELS

RESOLUTION = 64
FIXED, AUTO = "fixed", "auto"
DRAWS = 2000
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Trained:
    """Trainings of a model: their learning rates, and 1 for each test image that was hit, else 0 [seeds, N]."""

    rates: str
    hits: np.ndarray


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=DEFAULT_MODELS)
    parser.add_argument("--resolution", type=int, default=RESOLUTION)
    parser.add_argument("--epochs", type=int, default=25, help="of each training")
    parser.add_argument("--trial-epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--source", default="elpv", help="images, as data.source takes them")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--place", type=Path, help="folder of the studies; without it they are deleted at the end")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        place = given.place or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = {way: train(place / way, way, given) for way in (FIXED, AUTO)}
    print_table(found, given)


def train(directory: Path, way: str, given: argparse.Namespace) -> dict[str, Trained]:
    """Train the grid of one way, with fixed or found rates; returns what each model came to."""
    search = {"epochs": given.trial_epochs, "resolution": given.resolution}
    rate: dict[str, Any] = {"learning_rate": "auto", "learning_rate_search": search} if way == AUTO else {}
    config = {
        "models": given.models,
        "resolutions": [given.resolution],
        "seeds": given.seeds,
        "data": {"source": given.source},
        "training": {"epochs": given.epochs, **rate},
        "tracking": {"drain_seconds": 0},
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory.absolute() / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    study = Study.open(config)
    markers = [str(cell.marker) for cell in study.cells()]
    words = ["--directory", str(directory.absolute()), "--cores", str(given.cores), "--configfile", str(file)]
    done = subprocess.run([sys.executable, "-m", "snakemake", *markers, *words], cwd=ROOT, stdout=sys.stderr)
    if done.returncode:
        raise SystemExit(f"the trainings in {directory} failed with exit code {done.returncode}")
    with contextlib.chdir(directory):
        return {model: _read(Study.load(CURRENT), model) for model in given.models}


def print_table(found: dict[str, dict[str, Trained]], given: argparse.Namespace) -> None:
    """Print a row for each model, and their mean."""
    seeds = f"{len(given.seeds)} seed" + ("s" if len(given.seeds) > 1 else "")
    print(f"| {given.resolution} px, {seeds} | fixed rate | found rate | accuracy, fixed | found | found - fixed |")
    print("|---|---|---|---|---|---|")
    differences = []
    for model in given.models:
        fixed, auto = found[FIXED][model], found[AUTO][model]
        differences.append(auto.hits.mean(0) - fixed.hits.mean(0))
        accuracies = f"{fixed.hits.mean():.1%} | {auto.hits.mean():.1%}"
        print(f"| {model} | {fixed.rates} | {auto.rates} | {accuracies} | {_words(differences[-1])} |")
    print(f"| mean | | | | | {_words(np.mean(differences, 0))} |")


def interval(differences: np.ndarray, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences [N]: percentiles of a bootstrap over images."""
    random, count = np.random.default_rng(seed), len(differences)
    means = [differences[random.integers(count, size=count)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _words(differences: np.ndarray) -> str:
    low, high = interval(differences)
    return f"{100 * differences.mean():+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _read(study: Study, model: str) -> Trained:
    hits, rates = [], set()
    for cell in study.cells():
        if cell.model != model:
            continue
        rates.add(require_done(study, cell).learning_rate)
        predictions = Predictions.load(predictions_path(cell))
        if predictions is None:
            raise SystemExit(f"{predictions_path(cell)} holds no predictions")
        test = predictions.splits["test"]
        hits.append((test.log_probabilities.argmax(1) == np.asarray(test.labels)).astype(float))
    return Trained(", ".join(f"{rate:g}" for rate in sorted(rate for rate in rates if rate)), np.array(hits))


if __name__ == "__main__":
    main()
