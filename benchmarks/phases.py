"""Time of one cell by phase: `python -m benchmarks.phases [--model resnet18] [--resolution 128] [--epochs 3]`.

Profiles `resomap train` on ELPV images on the CPU, where a call takes as long as its work (a GPU works on after the
call; torch.profiler is for that), and prints a Markdown table of the process's time.
"""

import argparse
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resomap.bench.test_images import study_of, write_grey

TRAINING = "train/training.py"
# The phases of the loop: functions whose time it is with all that they call, as (end of the file's name, function),
# and whose calls of them count.
LOOP = ("train/loop.py", "run", "run")  # the one of the loop, called by the one of TRAINING
PHASES = {
    "wait for the next batch": [("train/batches.py", "epoch", "_train_epoch")],
    "augment and normalise": [("train/gradients.py", "inputs", "accumulate")],
    "forward": [("nn/modules/module.py", "_wrapped_call_impl", "learn")],
    "loss": [("train/objective.py", "__call__", "learn")],
    "backward": [("torch/_tensor.py", "backward", "learn")],
    "clip gradients": [("utils/clip_grad.py", "_no_grad_wrapper", "_step")],
    "optimizer": [("amp/grad_scaler.py", "step", "_step")],
    "validation": [("train/loop.py", "_validate", "run")],
    "progress, checkpoints": [
        ("train/observer.py", "after_step", "_train_epoch"),
        ("train/observer.py", "after_epoch", "run"),
        ("train/observer.py", "after_training", "run"),
    ],
}
CHECK = ("train/self_check.py", "run", "_checked")  # its passes are among those above
END = [(TRAINING, name, "run") for name in ("_evaluate_best", "_add_results", "_mark_done")]


def main() -> None:
    """Train once, profiled, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=600)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place, "study")
        material = write_grey(Path(place, "grey"), given.images)
        study_of(material, directory, given.model, [given.resolution], epochs=given.epochs)
        words = ("-m", "cProfile", "-o", "profile", "-m", "resomap", "train", f"{given.model}@{given.resolution}")
        began = time.monotonic()
        subprocess.run([sys.executable, *words], cwd=directory, stdin=subprocess.DEVNULL, check=True)
        whole = time.monotonic() - began
        stats = pstats.Stats(str(directory / "profile")).stats  # type: ignore[attr-defined]
    if missing := unseen(stats):
        raise SystemExit(
            f"no call was seen of {', '.join(missing)}: the phases of this command are not those of the code"
        )
    loop, check, end = _spent(stats, *LOOP), _spent(stats, *CHECK), sum(_spent(stats, *place) for place in END)
    found = {name: sum(_spent(stats, *place) for place in places) for name, places in PHASES.items()}
    rows = {
        "start: libraries, model, images mapped": whole - loop - check - end,
        **found,
        "the rest of the loop and of the self-check": loop + check - sum(found.values()),
        "evaluation, weights, marker, tracker": end,
    }
    print(f"| {given.model}, {given.resolution} px, {given.epochs} epochs | s | share |\n|---|---|---|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.2f} | {seconds / whole:.1%} |")
    print(f"| all of the process | {whole:.2f} | |")


def unseen(stats: dict[Any, Any]) -> list[str]:
    """Return what was never called by whom the table names: `function of file, by caller`; in a sound table nothing."""
    places = [LOOP, CHECK, *(place for places in PHASES.values() for place in places), *END]
    return [f"{place[1]} of {place[0]}, by {place[2]}" for place in places if not _calls(stats, *place)]


def _calls(stats: dict[Any, Any], *place: str) -> int:
    return sum(times[1] for times in _times(stats, *place))


def _spent(stats: dict[Any, Any], *place: str) -> float:
    """Return the seconds in a function and all that it calls, where a function of its caller's name called it."""
    return sum(times[3] for times in _times(stats, *place))


def _times(stats: dict[Any, Any], file: str, function: str, caller: str) -> Iterator[tuple[Any, ...]]:
    """Yield the profile's numbers of a function, where a function named `caller` called it."""
    for (place, _, name), (*_, callers) in stats.items():
        if name == function and place.endswith(file):
            yield from (times for (_, _, by), times in callers.items() if by == caller)


if __name__ == "__main__":
    main()
