"""`resomap config`: write or check the files that are generated from the configuration schema."""

import argparse
import sys
from pathlib import Path

from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("config", run, "write config.yaml, its README and its schema from the code")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--check", action="store_true", help="only tell whether they have drifted")


def run(given: argparse.Namespace) -> int:
    """Run the subcommand."""
    from resomap.commands import config_documents

    if not given.check:
        for path in config_documents.write_documents(given.root):
            print(f"wrote {path}")
        return 0
    drifted = config_documents.drifted(given.root)
    for path in drifted:
        print(f"{path} differs from the code; `resomap config` writes it anew", file=sys.stderr)
    return 1 if drifted else 0
