"""`resomap models`: list the models that can be trained."""

import argparse

from resomap.commands import Commands


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add("models", run, "the names of the models that can be trained")
    parser.add_argument("pattern", nargs="?", help="a part of the name")


def run(given: argparse.Namespace) -> None:
    """Run the subcommand."""
    from resomap.models.listing import print_models

    print_models(given.pattern)
