"""`resomap run`: run the study of a folder, by Snakemake with the study's own Snakefile and configuration."""

import argparse
import os
import sys

from resomap.commands import Commands, add_directory
from resomap.commands.snakemake_line import snakemake_line


def add(commands: Commands) -> None:
    """Add the subcommand to the parser."""
    words = "run the study of a folder: Snakemake, with the study's own Snakefile and configuration"
    parser = commands.add("run", run, words)
    parser.epilog = "All other words are Snakemake's: targets, --cores, --config, -n ..."
    add_directory(parser)
    parser.set_defaults(takes_snakemakes_words=True)


def run(given: argparse.Namespace) -> None:
    """Run the subcommand: this process becomes Snakemake, so that signals and its exit code are Snakemake's own."""
    words, environment = snakemake_line(given.directory, given.words)
    sys.stdout.flush()
    os.execve(words[0], words, {**os.environ, **environment})
