"""Folder in which a person reads what this process prints: paths are printed so that they can be used from there.

A command may work in another folder than the one in which it was typed (`resomap status -C runs/mine`, `snakemake
--directory runs/mine`). The paths of a study begin at its own folder, and would lead nowhere from the person's.
"""

import os
from pathlib import Path

# An environment variable, so that the jobs of a run print for the run's reader.
_TYPED_IN = "RESOMAP_TYPED_IN"


def remember_reader() -> None:
    """Note the folder in which this process's command was typed: the working directory, before it is changed."""
    os.environ[_TYPED_IN] = str(Path.cwd())


def typed_in() -> Path:
    """Return the folder in which the command was typed; the working directory where nothing was noted."""
    return Path(os.environ.get(_TYPED_IN) or Path.cwd())


def for_reader(path: Path | str) -> str:
    """Return a path of the working directory as it is used where the command was typed; as it is where both are one."""
    if Path(path).is_absolute() or typed_in() == Path.cwd():
        return str(path)
    return short(Path.cwd() / path)


def short(path: Path) -> str:
    """Return an absolute path, relative to the folder in which the command was typed where it lies below that."""
    try:
        return str(path.relative_to(typed_in()))
    except ValueError:
        return os.path.abspath(path)
