"""A kill -9 in every step of the workflow: the same plain command goes on, whatever profile the user has."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MODEL, ROOT, environment_with, small_config, snakemake, tool
from waiting import wait_for

from resomap.data import SPLITS
from resomap.machine.processes import process_lives
from resomap.planning.image_files import broken_file

# Loaded by each Python of the run: once the step has put this output in place, all of the run dies, Snakemake included.
KILLER = """
import os, signal
replace = os.replace
def killing(source, target, **named):
    replace(source, target, **named)
    if os.fspath(target) in os.environ.get("KILL_BEHIND", "").split(os.pathsep):
        os.killpg(0, signal.SIGKILL)
    if os.fspath(target) == os.environ.get("ORPHANED_BEHIND"):
        os.kill(os.getsid(0), signal.SIGKILL)  # Snakemake alone
        open("orphan", "w").write(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
os.replace = killing
"""
OUTPUTS = [
    "results/data/manifest.json",
    "results/data/32/store.json",
    f"results/{MODEL}/32.done",
    f"results/{MODEL}/32.evaluation.json",
    f"results/cost/cpu/{MODEL}/32.json",
    "results/costs.csv",
    "results/summary.csv",
    "results/figures/heatmap.svg",
]
# A user's own profile wins over ours, and this one says nothing good about incomplete files.
PROFILE = {"cores": 1, "rerun-incomplete": False, "keep-going": True}


def killed_behind(
    outputs: list[str], directory: Path, config: dict[str, Any], *options: str, kind: str = "KILL_BEHIND"
) -> None:
    """Run the plain command until a step has written one of the outputs; then the whole process group gets a kill -9.

    With the kind ORPHANED_BEHIND only Snakemake does, and the step is stopped until it gets SIGCONT.
    """
    (directory / "sitecustomize.py").write_text(KILLER)
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    words = [tool("snakemake"), "--directory", str(directory), "--configfile", str(directory / "study.yaml"), *options]
    path = f"{directory}:{os.environ.get('PYTHONPATH', '')}"
    environment = environment_with(**{kind: os.pathsep.join(outputs)}, PYTHONPATH=path)
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    assert process.wait(timeout=120) == -signal.SIGKILL


def test_a_step_that_outlives_snakemake_is_waited_for(images: Path, tmp_path: Path) -> None:
    """Two processes at the same images would take each other's temporary files away."""
    config = small_config(images)
    target = "results/data/32/store.json"
    killed_behind(["results/data/32/train.npy"], tmp_path, config, target, kind="ORPHANED_BEHIND")
    wait_for(lambda: (tmp_path / "orphan").exists() and (tmp_path / "orphan").read_text())
    words = [tool("snakemake"), target, "--directory", str(tmp_path), "--configfile", str(tmp_path / "study.yaml")]
    second = subprocess.Popen(words, cwd=ROOT, env=environment_with(), stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    try:
        said = next((line for line in second.stdout if "waiting for it to end" in line), "")
    finally:
        os.kill(int((tmp_path / "orphan").read_text()), signal.SIGCONT)
    assert said == "another process is at the step `images 32`; waiting for it to end\n"
    second.stdout.read()
    assert second.wait(timeout=60) == 0
    assert broken_file(tmp_path / "results" / "data" / "32", SPLITS) is None


PARENT = """
import os, time
from pathlib import Path
from resomap.data.pool import in_order

def task(place):
    Path(place, f"{os.getpid()}.pid").touch()
    time.sleep(0.05)

if __name__ == "__main__":
    list(in_order(task, [os.getcwd()] * 400, 2, "done"))
"""


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """A kill -9 of a step that reads images leaves none of its processes behind, which would wait for ever."""
    (tmp_path / "parent.py").write_text(PARENT)
    path = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    parent = subprocess.Popen([tool("python"), "parent.py"], cwd=tmp_path, env=environment_with(PYTHONPATH=path))
    wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    parent.kill()
    parent.wait()
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_for(lambda: not any(process_lives(pid, time.time()) for pid in workers))


def flagged(directory: Path) -> bool:
    return any((directory / ".snakemake" / "incomplete").iterdir())


@pytest.mark.slow
def test_after_a_kill_in_any_step_the_plain_command_goes_on(images: Path, tmp_path: Path) -> None:
    """Each run goes on where the one before was killed, and dies one step later."""
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(yaml.safe_dump(PROFILE))
    config = small_config(images, training={"epochs": 1}, cost={"seconds": 0.05, "least_runs": 1, "largest_batch": 2})
    waiting = list(OUTPUTS)
    while waiting:  # which of two steps that are ready comes first is Snakemake's business
        killed_behind(waiting, tmp_path, config, "--profile", str(profile))
        written = [output for output in waiting if (tmp_path / output).exists()]
        assert len(written) == 1
        assert flagged(tmp_path), written
        waiting.remove(*written)
    finished = snakemake("--profile", str(profile), directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert not flagged(tmp_path)
    assert (tmp_path / "results" / MODEL / "32.log").read_text().count("attempt 1") == 1, "what is done trained again"
    assert "Nothing to be done" in snakemake("-n", directory=tmp_path, config=config).stdout
