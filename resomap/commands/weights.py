"""`resomap weights`: keep pretrained weights in a directory, for jobs on nodes without a network."""

import argparse
from pathlib import Path

from resomap.commands import Commands
from resomap.core.errors import ResomapError


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("weights", run, "keep the libraries' pretrained weights for nodes without a network")
    parser.add_argument("action", choices=("fetch",), help="fetch: from the library's cache or the net")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="as `resomap models` lists them")
    parser.add_argument("--directory", type=Path, help="default: RESOMAP_WEIGHTS")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    import os

    from resomap.models.index import load_index
    from resomap.models.weights_store import VARIABLE

    directory = given.directory or os.environ.get(VARIABLE)
    if not directory:
        raise ResomapError(f"name the directory that takes the weights: --directory DIR, or the variable {VARIABLE}")
    index = load_index()
    entries = [index.entry(name) for name in given.models]  # a mistyped name before the first download

    from resomap.models.hub import fetch_default

    for entry in entries:
        path, origin = fetch_default(entry, Path(directory).expanduser())
        print(f"{entry.name}: {path} ({path.stat().st_size / 1e6:.1f} MB, {origin.digest}, of {origin.place})")
    print(f"trainings with `weights: default` find them where {VARIABLE} or `weights_directory` names {directory}")
