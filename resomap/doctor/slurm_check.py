"""Check of Slurm: can this machine send jobs to a cluster?"""

import importlib.util
import shutil
from collections.abc import Iterator

from resomap.doctor.finding import Finding
from resomap.machine.slurm import ask

SECONDS = 10


def look_at_slurm() -> Iterator[Finding]:
    """Yield findings on Slurm; none, or one that does not answer, is nothing bad: the grid runs here without it."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        yield Finding("note", "Slurm", "no Slurm here: the grid runs on this machine")
        return
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        yield Finding(
            "bad", "Slurm", "Snakemake's plugin for it is missing", "pip install snakemake-executor-plugin-slurm"
        )
    asked = ask("sinfo", "-h", "-o", "%P %a %G", seconds=SECONDS)
    if asked is None:
        yield _unusable(f"sinfo does not answer within {SECONDS} s")
        return
    if asked.returncode != 0:
        said = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield _unusable(f"sinfo fails: {said}")
        return
    rows = [line.split(maxsplit=2) for line in asked.stdout.splitlines() if line.strip()]
    with_gpu = [row[0].rstrip("*") for row in rows if len(row) == 3 and "gpu" in row[2] and row[1] == "up"]
    names = ", ".join(dict.fromkeys(with_gpu))
    yield (
        Finding("ok", "Slurm", f"partitions with GPUs: {names}")
        if names
        else Finding("note", "Slurm", "no partition that is up has GPUs", "train with --config device=cpu there")
    )


def _unusable(words: str) -> Finding:
    return Finding(
        "note",
        "Slurm",
        f"installed, but {words}; the grid runs on this machine",
        "for `--profile profiles/slurm`: check that slurmctld runs and that SLURM_CONF is right, or ask its operators",
    )
