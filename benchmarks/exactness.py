"""Sweep of the self-check on a CPU: `python -m benchmarks.exactness [--models ...] [--resolutions 8 16 ...]`.

Computes the gradients of one batch twice, with unwritten memory filled differently (resomap/train/self_check.py), for
each model, resolution, precision, memory layout and number of threads, and prints the Markdown table of docs/resume.md.
All default models take about an hour on two cores. What is measured stands in the journal, a line each: the same
command goes on after an interruption, and `--minutes` ends it after a while.
"""

import argparse
import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.config.schema import Config
from resomap.data.store import Images
from resomap.models.build import build_model
from resomap.train.batches import TrainingBatches
from resomap.train.loop import TrainingData
from resomap.train.objective import Objective, make_optimizer, make_scaler
from resomap.train.self_check import SelfCheck
from resomap.train.state import RunningSums, TrainingState
from resomap.train.stopping import BestSoFar

BATCH, VALIDATION = 16, 37  # images
RESOLUTIONS = [8, 12, 16, 20, 24, 32, 48, 64]
PRECISIONS: dict[str, torch.dtype | None] = {"bf16": torch.bfloat16, "float32": None}
LAYOUTS = {"channels last": True, "channels first": False}


class Case(NamedTuple):
    """One check: its words are those of the journal and of the table."""

    model: str
    resolution: int
    precision: str
    layout: str
    threads: int


def main() -> None:
    """Measure what the journal lacks, and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=Config().models)
    parser.add_argument("--resolutions", nargs="+", type=int, default=RESOLUTIONS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--journal", type=Path, default=Path("exactness.jsonl"))
    given = parser.parse_args()
    cases = [
        Case(*words) for words in itertools.product(given.models, given.resolutions, PRECISIONS, LAYOUTS, given.threads)
    ]
    known, end = dict(_journal(given.journal)), time.monotonic() + 60 * given.minutes
    for number, case in enumerate(cases, start=1):
        if case in known or time.monotonic() > end:
            continue
        known[case] = measure(case)
        with given.journal.open("a") as stream:
            stream.write(json.dumps({**case._asdict(), "differing": known[case]}) + "\n")
        print(f"{number}/{len(cases)} {', '.join(map(str, case))}: {known[case] or 'the same bits'}", flush=True)
    print_table({case: known[case] for case in cases if case in known})


def measure(case: Case) -> list[str] | str:
    """Return what differed, or why the model could not be tried."""
    device = choose_device("cpu")
    prepare_backend(device, False, case.threads)
    keep_freed_memory()  # as the trainer does
    execution = Execution(device=device, precision=PRECISIONS[case.precision], channels_last=LAYOUTS[case.layout])
    try:
        return list(_check(case, execution).compare(execution).differing)
    except (ValueError, RuntimeError, AssertionError) as error:  # too small for the network
        return f"does not take them ({str(error).splitlines()[0]})"


def _check(case: Case, execution: Execution) -> SelfCheck:
    random, recipe = np.random.default_rng(0), Training(batch_size=BATCH)

    def images(count: int) -> Images:
        pixels = random.integers(0, 256, (count, case.resolution, case.resolution, 3), dtype=np.uint8)
        return Images(pixels, np.arange(count) % 2, [str(one) for one in range(count)])

    data = TrainingData(
        batches=TrainingBatches(images(BATCH), recipe, 0, pinned=False),
        validation=images(VALIDATION),
        classes=2,
        normalisation=Normalisation((0.5,) * 3, (0.25,) * 3),
    )
    torch.manual_seed(0)
    model = execution.place(build_model(case.model, case.resolution, 2).model)
    state = TrainingState(
        model=model,
        optimizer=make_optimizer(model, recipe),
        scaler=make_scaler(execution),
        ema=None,
        best=BestSoFar(recipe.monitor),
        sums=RunningSums.zero(execution.device.torch),
    )
    objective = Objective(recipe, data.batches.labels, 2, execution.device.torch)
    return SelfCheck(state=state, recipe=recipe, data=data, objective=objective, is_deterministic=False)


def print_table(found: dict[Case, Any]) -> None:
    """Print, for each model and resolution, the tensors that differ, of all layouts and numbers of threads together."""
    resolutions = sorted({case.resolution for case in found})
    print(f"| model | precision | {' | '.join(f'{size} px' for size in resolutions)} |")
    print(f"|{'---|' * (len(resolutions) + 2)}")
    for model, precision in itertools.product(dict.fromkeys(case.model for case in found), PRECISIONS):
        cells = []
        for size in resolutions:
            tried = [
                outcome
                for case, outcome in found.items()
                if (case.model, case.resolution, case.precision) == (model, size, precision)
            ]
            cells.append(_words(tried))
        print(f"| {model} | {precision} | {' | '.join(cells)} |")


def _words(tried: list[Any]) -> str:
    if any(isinstance(outcome, str) for outcome in tried):
        return "too small"
    differing = sum(bool(outcome) for outcome in tried)
    return "" if not tried else f"{differing} of {len(tried)} differ" if differing else "same"


def _journal(path: Path) -> Iterator[tuple[Case, Any]]:
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found = json.loads(line)
            yield Case(*(found[name] for name in Case._fields)), found["differing"]
        except (ValueError, KeyError, TypeError):
            continue  # a line that a kill cut off is measured again


if __name__ == "__main__":
    main()
