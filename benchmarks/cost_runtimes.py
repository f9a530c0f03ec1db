"""Costs of the default models in each runtime, and by a kit: `python -m benchmarks.cost_runtimes PLACE`.

Writes the kit of a study of these models, measures with it as another machine would, takes its figures in, and measures
the same networks as the grid does, in PyTorch, ONNX Runtime and OpenVINO. Prints a Markdown table of the kit (size as
said first and as it is, minutes, networks measured, cores that other programs took) and one of the latencies in ms,
median and quartiles, with `unsteady` where the quartiles are further apart than a tenth of the median. PLACE is a
folder that does not exist yet. Nothing is trained, and no image is read.
"""

import argparse
import contextlib
import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from resomap.cells.measurement import EAGER, UNSTEADY
from resomap.cells.study import CURRENT, Study
from resomap.config.schema import DEFAULT_MODELS
from resomap.core.files import read_json

ROOT = Path(__file__).resolve().parents[1]
DEVICE = "by-the-kit"
RUNTIMES = ("onnxruntime", "openvino", "torch")
COLUMNS = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", EAGER: "eager PyTorch"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Costs of models in each runtime, and by a kit.")
    parser.add_argument("place", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--models", nargs="+", default=DEFAULT_MODELS)
    parser.add_argument("--resolutions", nargs="+", type=int, default=[64, 224])
    parser.add_argument("--seconds", type=float, default=3.0, help="longest time of a figure")
    given = parser.parse_args()
    given.place.mkdir(parents=True)
    config = {
        "device": "cpu",
        "models": given.models,
        "resolutions": given.resolutions,
        "cost": {"runtimes": list(RUNTIMES), "seconds": given.seconds},
    }
    print(f"load average before: {os.getloadavg()[0]:.2f}\n", flush=True)
    with contextlib.chdir(given.place):
        Path("study.yaml").write_text(yaml.safe_dump(config))
        Study.open(config).save(CURRENT)
        _measure_by_kit()
        _measure_as_grid()
        _print_latencies()


def _measure_by_kit() -> None:
    """Write the kit, measure with it, take its figures in; print what was said of it."""
    began = time.monotonic()
    said = _run(sys.executable, "-m", "resomap", "cost-kit", "kit")
    written = time.monotonic() - began
    first = re.search(r"about ([\d,]+ MB) for (\d+) networks", said)
    size = sum(one.stat().st_size for one in Path("kit").rglob("*") if one.is_file())
    began = time.monotonic()
    _run(sys.executable, "-I", "kit/measure.py", "--device", DEVICE)
    minutes = (time.monotonic() - began) / 60
    _run(sys.executable, "-m", "resomap", "cost-import", "costs.json")
    costs = read_json(Path("costs.json"))
    measured = [one for one in costs["cells"] if one.get("latency_ms_median")]
    models = {one["model"] for one in measured}
    print("| kit | |\n|---|---|")
    print(f"| size, as said first | {first[1] if first else '?'} |")
    print(f"| size | {size / 1e6:,.0f} MB, written in {written:.0f} s |")
    print(f"| networks measured | {len(measured)} of {first[2] if first else '?'}, of {len(models)} models |")
    unsteady = sum(one["unsteady"] for one in measured)
    print(f"| time | {minutes:.1f} min; unsteady: {unsteady} |")
    print(f"| threads, on the cores | {costs['threads']}, {costs['pinned_cores']} |")
    print(f"| cores of other programs meanwhile | {costs['other_programs_cores']} |\n", flush=True)


def _measure_as_grid() -> None:
    """Measure all networks in all runtimes, in turns, by the workflow's command."""
    words = ("snakemake", "results/costs.csv", "--cores", str(len(os.sched_getaffinity(0))))
    began = time.monotonic()
    _run(*words, "--directory", str(Path.cwd()), "--configfile", str(Path("study.yaml").absolute()), cwd=ROOT)
    print(f"The grid in all runtimes took {(time.monotonic() - began) / 60:.1f} min.", end=" ")
    others = [read_json(one)["other_programs_cores"] for one in Path("results/cost/cpu").rglob("*.json")]
    print(f"Cores of other programs meanwhile: {max(others)}.\n", flush=True)


def _print_latencies() -> None:
    with open("results/costs.csv") as stream:
        rows = list(csv.DictReader(stream))
    print(f"| latency (ms) | px | {' | '.join(COLUMNS.values())} | ONNX Runtime, by the kit | from JPEG |")
    print(f"|---|---|{'---|' * (len(COLUMNS) + 2)}")
    of_cells: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        way = DEVICE if row["device"] == DEVICE else row["runtime"]
        of_cells.setdefault((row["model"], row["resolution"]), {})[way] = row
    for (model, resolution), ways in of_cells.items():
        figures = [_figure(ways.get(way), "latency_ms") for way in (*COLUMNS, DEVICE)]
        print(f"| {model} | {resolution} | {' | '.join(figures)} | {_figure(ways.get(RUNTIMES[0]), 'end_to_end_ms')} |")


def _figure(row: dict[str, str] | None, name: str) -> str:
    if row is None or not row[f"{name}_median"]:
        return "–"
    median, low, high = (float(row[f"{name}_{one}"]) for one in ("median", "q1", "q3"))
    mark = " unsteady" if (high - low) / median > UNSTEADY else ""
    return f"{median:.3g} [{low:.3g}, {high:.3g}]{mark}"


def _run(*words: str, cwd: Path | None = None) -> str:
    """Run a command to its end, and return what it printed; what it says of its progress goes to the terminal."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True)
    print(done.stdout, done.stderr, file=sys.stderr, sep="", flush=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:4])} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout


if __name__ == "__main__":
    main()
