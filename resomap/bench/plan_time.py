"""Planning time: `snakemake -n` of a grid, beside a Snakefile of one bare rule and as many jobs."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resomap.core.errors import ResomapError
from resomap.core.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[2]  # the clone: the workflow is not part of the package
BARE = """
rule all:
    input: [f"results/{{number}}.done" for number in range({jobs})]

rule train:
    output: "results/{{number}}.done"
    resources: gpu=1
    shell: "touch {{output}}"
"""
OPTIONS = ("--cores", "2", "--resources", "gpu=1")


@dataclass(frozen=True)
class Call:
    """Duration and memory of one call of Snakemake."""

    seconds: float
    memory_mb: float  # at most


@dataclass(frozen=True)
class Planning:
    """Calls of the grid's plan and of the bare rule's, in turn, of so many jobs each."""

    jobs: int
    ours: Sequence[Call]
    bare: Sequence[Call]

    @property
    def ratios(self) -> list[float]:
        """Seconds of the grid's plan / of the bare rule's, pair by pair."""
        return [one.seconds / other.seconds for one, other in zip(self.ours, self.bare, strict=True)]


def grid(cells: int) -> dict[str, Any]:
    """Return the configuration of the default grid with seeds for so many cells; asks no tracker."""
    return {"seeds": list(range(cells // 40)), "device": "cpu", "skip_completed": False}


def compare_planning(directory: Path, cells: int, repeats: int) -> Planning:
    """Plan a grid of 8 models x 5 resolutions x seeds in `directory`, which has nothing yet, and the bare rule beside.

    Raises ResomapError where the package does not lie in a clone with its Snakefile.
    """
    if not (ROOT / "Snakefile").is_file():
        raise ResomapError(f"there is no Snakefile in {ROOT}: run this from a clone, installed with pip install -e")
    bare = directory / "bare"
    ours = plan_words(directory, grid(cells))
    jobs = count_jobs(ours)
    write_text(bare / "Snakefile", BARE.format(jobs=jobs))
    plain = ["-n", *OPTIONS, "--directory", str(bare), "--snakefile", str(bare / "Snakefile")]
    pairs = [(call(ours), call(plain)) for _ in range(repeats)]  # in turn: what disturbs one, disturbs both
    return Planning(jobs, *zip(*pairs, strict=True))


def plan_words(directory: Path, config: dict[str, Any]) -> list[str]:
    """Return Snakemake's options that plan a configuration in a directory."""
    write_json(directory / "study.yaml", config)  # JSON is YAML
    return ["-n", *OPTIONS, "--configfile", str(directory / "study.yaml"), "--directory", str(directory)]


def count_jobs(words: Sequence[str]) -> int:
    """Return the number of jobs that `-n` lists; with `-p` ResoMap leaves Snakemake's own list in it."""
    listed = subprocess.run(snakemake(*words, "-p"), cwd=ROOT, capture_output=True, text=True, check=True)
    return int(re.findall(r"^total +(\d+)", listed.stdout + listed.stderr, re.MULTILINE)[-1])


def call(words: Sequence[str]) -> Call:
    """Run Snakemake once; return its duration and memory. Raises ResomapError where it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(snakemake(*words), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ResomapError(f"snakemake {' '.join(words)} failed with exit code {process.returncode}")
    return Call(time.perf_counter() - started, usage.ru_maxrss / 1000)


def snakemake(*words: str) -> list[str]:
    """Return Snakemake's command line, of this Python's environment."""
    return [str(Path(sys.executable).with_name("snakemake")), *words]
