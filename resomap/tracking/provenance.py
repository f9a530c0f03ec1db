"""Provenance of a run, two small files beside the marker: the resolved configuration and the environment."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from resomap import __version__
from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.config.hashed import recipe_version
from resomap.core.files import write_json, write_text
from resomap.machine.nvidia import driver_version

GIT_SECONDS = 5.0
# Set by schedulers, and worth knowing of a run.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_JOB_PARTITION", "OMP_NUM_THREADS")


def config_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.config.yaml`."""
    return cell.beside_marker("config.yaml")


def environment_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.environment.json`."""
    return cell.beside_marker("environment.json")


def write_config(study: Study, cell: Cell) -> Path:
    """Write the whole configuration, and the cell's recipe after overrides; return the file's path."""
    named = {"model": cell.model, "resolution": cell.resolution, "seed": cell.seed, "family": cell.family}
    content = {
        "cell": named if cell.fold is None else {**named, "fold": cell.fold},
        "fingerprint": study.fingerprint(cell),
        "base": study.base,
        "data_identity": study.data_identity,
        "recipe_version": recipe_version(study.recipe(cell)),
        "recipe": study.recipe(cell).model_dump(),
        "config": study.config.model_dump(),
    }
    path = config_path(cell)
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def write_environment(cell: Cell, found: Mapping[str, Any]) -> Path:
    """Write packages, system, driver and git state, and the entries `found` by the caller; return the file's path.

    It has no times, so that another attempt on the same machine writes the same bytes.
    """
    path = environment_path(cell)
    content = {
        **found,
        "resomap": __version__,
        "git": {"commit": git_commit(), "dirty": is_dirty()},
        "python": platform.python_version(),
        "system": platform.platform(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "nvidia_driver": driver_version(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "packages": packages(),
    }
    write_json(path, content)
    return path


def packages() -> dict[str, str]:
    """Return the version of every installed distribution, sorted by name."""
    found = ((item.metadata["Name"], item.version) for item in importlib.metadata.distributions())
    return dict(sorted((name, version) for name, version in found if name))


def git_commit() -> str | None:
    """Return the commit of the checkout that trains, None where there is none; read from .git without calling git."""
    git = _checkout() / ".git"
    try:
        if git.is_file():  # a worktree of `git worktree add`: the file names its folder in the main checkout
            git = _checkout() / git.read_text().strip().removeprefix("gitdir: ")
        shared = git / "commondir"  # where a worktree's branches are kept
        branches = git / shared.read_text().strip() if shared.exists() else git
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (branches / name).exists():
            return (branches / name).read_text().strip()
        packed = (branches / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except OSError:
        return None


def is_dirty() -> bool | None:
    """Return True if files of that checkout differ from its commit; None where there is none, or no git."""
    if not (_checkout() / ".git").exists():
        return None  # git would find a repository further up, which has nothing to do with us
    words = ["git", "-C", str(_checkout()), "status", "--porcelain", "--untracked-files=no"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=GIT_SECONDS, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(done.stdout.strip())


def _checkout() -> Path:
    return Path(__file__).resolve().parents[2]
